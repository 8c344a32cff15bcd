"""The three backends give the same numbers, and tools/agreement would say if not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_mono as km

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("jax", "torch", "tensorflow")
PYTHONS = {b: ROOT / ".envs" / b / "bin" / "python" for b in BACKENDS}
MISSING = [f".envs/{b}" for b, python in PYTHONS.items() if not python.exists()]

pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"compares all backends; `make test` creates {', '.join(MISSING)}",
)


def agreement(*arguments):
    """Exit status and everything printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "agreement"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def lines_with(printed, *words):
    return [line for line in printed.split("\n") if all(w in line for w in words)]


@pytest.fixture
def changed_torch(tmp_path):
    """Builds a Python with torch whose keras_mono ends with some more code."""

    def build(code):
        package = tmp_path / "keras_mono"
        shutil.copytree(Path(km.__file__).parent, package)
        with (package / "__init__.py").open("a") as file:
            file.write(code)
        python = tmp_path / "python"
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{PYTHONS["torch"]}" "$@"\n'
        )
        python.chmod(0o755)
        return f"--python=torch={python}"

    return build


def test_the_backends_agree():
    status, printed = agreement()
    print(printed)
    assert status == 0, printed
    for pair in ("jax, torch", "jax, tensorflow", "torch, tensorflow"):
        # Two networks, each with one `fit` and with single steps.
        assert len(lines_with(printed, "statistics", pair)) == 4, printed
        assert len(lines_with(printed, "weights", pair)) == 4, printed
        assert len(lines_with(printed, "outputs", pair)) == 2, printed
        assert len(lines_with(printed, "from the k-th", pair)) == 2, printed


def test_a_slightly_different_variance_is_noticed(changed_torch):
    python = changed_torch(
        """
import functools
layers.MonosemanticInhibition.__init__ = functools.partialmethod(
    layers.MonosemanticInhibition.__init__, variance_compensation=0.0101
)
"""
    )
    status, printed = agreement("torch", "tensorflow", python)
    assert status == 1, printed
    assert lines_with(printed, "φ", "torch, tensorflow", "FAILED"), printed
    assert lines_with(printed, "from the k-th", "FAILED"), printed
    assert lines_with(printed, "weights after a step", "FAILED"), printed


def test_selecting_nothing_is_noticed(changed_torch):
    python = changed_torch(
        "\nselectors.TopK.__call__ = lambda self, phi, *_: phi < 0\n"
    )
    status, printed = agreement("torch", "tensorflow", python)
    assert status == 1, printed
    assert lines_with(printed, "fewest selected", "torch", " 0 ", "FAILED"), printed
    assert lines_with(printed, "weights moved", "torch", "FAILED"), printed


def test_a_backend_that_does_not_run_is_noticed(changed_torch):
    status, printed = agreement("torch", "jax", changed_torch("\n1 / 0\n"))
    assert status == 1, printed
    assert "torch FAILED" in printed, printed


def test_a_missing_interpreter_is_named():
    status, printed = agreement("jax", "torch", "--python=torch=nowhere")
    assert status == 1
    assert "No Python for torch" in printed, printed
    assert "nowhere" in printed
