"""The README's first program runs after exactly the line printed before it.

In a new environment, with what that line installs and nothing else: on JAX, and in
`make soak` on each backend, where PyTorch's line may install gigabytes of CUDA.
`tests/installation` shows on every backend that the program needs nothing more.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BUILT_FROM = ["pyproject.toml", "README.md", "LICENSE", "keras_mono"]
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
BACKENDS = ["jax", "torch", "tensorflow"] if SOAK else ["jax"]


def install_line(backend):
    """The first block of the README, for a backend that it names."""
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    line = block[1].strip()
    assert f'".[{backend}]"' in line
    assert README.index(line) < README.index("```python")
    return line.replace('".[jax]"', f'".[{backend}]"', 1)


def checkout(folder):
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)


def new_environment(folder):
    """Its variables. Where `venv` cannot put pip there, as Debian's, our own does."""
    venv = [sys.executable, "-m", "venv", str(folder)]
    if importlib.util.find_spec("ensurepip"):
        subprocess.run(venv, check=True)
    else:
        subprocess.run([*venv, "--without-pip"], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        subprocess.run([*pip, "install", "--quiet", "pip"], check=True)
    left_out = {"PYTHONPATH", "PYTHONHOME", "KERAS_BACKEND"}
    here = {name: os.environ[name] for name in os.environ.keys() - left_out}
    path = f"{folder / 'bin'}{os.pathsep}{here['PATH']}"
    # Python compiles what the program imports: a small part of what pip would.
    return {**here, "PATH": path, "VIRTUAL_ENV": str(folder), "PIP_NO_COMPILE": "1"}


def run(command, folder, env):
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=3000 if SOAK else 600,
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_program_runs_after_the_printed_line(backend, tmp_path):
    source, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    source.mkdir()
    elsewhere.mkdir()
    checkout(source)
    env = new_environment(tmp_path / "new")
    done = run(["sh", "-c", install_line(backend)], source, env)
    assert done.returncode == 0, done.stdout + done.stderr
    program = elsewhere / "first.py"
    program.write_text(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], "utf-8")
    done = run(["python", str(program)], elsewhere, {**env, "KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "_ms_top1" in done.stdout
