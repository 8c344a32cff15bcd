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


TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
LAUNCHERS = [[]]
if keras.config.backend() == "torch":  # the program starts its ranks, or torchrun does
    LAUNCHERS = [TORCHRUN, pytest.param([], marks=pytest.mark.soak)]


def run(*command):
    variables = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    if keras.config.backend() == "jax":  # four devices, on any machine
        variables["CUDA_VISIBLE_DEVICES"] = ""
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


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_it_trains_and_all_know_the_same(launcher):
    name, expected = EXAMPLES[keras.config.backend()]
    check(run(*launcher, str(FOLDER / name)), expected)


def test_every_example_is_tested():
    files = {path.name for path in FOLDER.glob("*.py")}
    assert files == {name for name, _ in EXAMPLES.values()}
