"""The program of this run's backend in examples/distributed, as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "distributed"
EXAMPLES = {
    "torch": ("pytorch_ddp.py", "2 ranks, the same mean on each: True"),
    "jax": ("jax_data_parallel.py", "4 devices"),
    "tensorflow": ("tensorflow_mirrored.py", "2 replicas, the same mean on each: True"),
}


def run(*command):
    variables = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=300,
        env=variables | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(printed, expected):
    assert expected in printed
    assert float(re.search(r"accuracy (\d\.\d+)", printed)[1]) > 0.85


def test_it_trains_and_all_know_the_same():
    name, expected = EXAMPLES[keras.config.backend()]
    check(run(str(FOLDER / name)), expected)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="for PyTorch")
def test_torchrun():
    program = str(FOLDER / "pytorch_ddp.py")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    check(run(*launcher, program), "2 ranks, the same mean on each: True")


def test_every_example_is_tested():
    files = {path.name for path in FOLDER.glob("*.py")}
    assert files == {name for name, _ in EXAMPLES.values()}
