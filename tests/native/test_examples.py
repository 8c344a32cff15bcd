"""The loop of this run's backend in examples/native, as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "native"
EXAMPLES = {
    "torch": ("pytorch_transformers.py", 0.55),
    "jax": ("jax_optax.py", 0.85),
    "tensorflow": ("tensorflow_gradient_tape.py", 0.85),
}


@pytest.fixture(scope="module")
def printed():
    name, _ = EXAMPLES[keras.config.backend()]
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_learns(printed):
    _, least = EXAMPLES[keras.config.backend()]
    losses = [float(x) for x in re.findall(r"loss (\d+\.\d+)", printed)]
    assert losses[-1] < losses[0]
    accuracy = float(re.search(r"accuracy (\d\.\d+)", printed)[1])
    assert accuracy > least


def test_the_layers_took_part(printed):
    if keras.config.backend() == "torch":
        for block in (4, 5, 6, 7):
            assert f"block {block}: 40 steps seen" in printed
        assert "bert.encoder.layer.4.inhibition.mean" in printed
    else:
        assert re.search(r"inhibition +MonosemanticInhibition +300 ", printed)
        assert re.search(r"penalty +MonosemanticPenalty +300 ", printed)


PAGES = {"torch": "pytorch.md", "jax": "native-jax.md"}


@pytest.mark.skipif(keras.config.backend() not in PAGES, reason="has no page")
def test_the_page_runs():
    backend = keras.config.backend()
    text = (FOLDER.parents[1] / "docs" / PAGES[backend]).read_text("utf-8")
    program = "".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if backend == "torch":
        assert "torch.Size([1, 64])" in done.stdout
        assert "2 layers of keras_mono in 'Sequential'" in done.stdout
        assert "'2_ms_top1': " in done.stdout


def test_every_example_is_tested():
    files = {path.name for path in FOLDER.glob("*.py")}
    assert files == {name for name, _ in EXAMPLES.values()}
