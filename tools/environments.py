"""Virtual environments, one a backend, so that tests see a single backend installed.

`ready(name, level)` makes `.envs/NAME` what it has to be and returns its Python. The
package is installed from a wheel, never from the checkout. A stamp in the environment
says what it holds, so that a second call does nothing and a change in the package's
sources reinstalls the package only.

Environments are made without pip and filled by the calling Python's pip, because
Debian's Python can neither put pip into an environment nor install outside of one.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".envs"
BACKENDS = ("jax", "torch", "tensorflow")

# Exact versions, where the package's own extra of that name leaves them open.
PINS = {
    "jax": [],
    "torch": ["torch==2.13.0"],  # other versions may bring gigabytes of CUDA
    "tensorflow": [],
    "serving": [],
    "lint": ["mypy==2.4.1", "ruff==0.17.6"],  # every new version has new opinions
}

# Each level holds the ones before it. The value is the package's extra.
LEVELS = {"demo": "examples", "test": "test"}

# What tests of other libraries' models and of exported ones need besides.
OF_TESTS = {
    "jax": ["optax>=0.2.4", "orbax-checkpoint>=0.12"],
    "torch": ["onnx", "onnxruntime", "onnxscript", "transformers>=4.57"],
    "tensorflow": ["onnx", "onnxruntime", "tf2onnx>=1.16"],
    "serving": ["jax2onnx", "onnxruntime"],
}
# KerasHub without its requirements, which would bring all of TensorFlow into every
# environment, and those of them that it cannot be imported without.
KERAS_HUB = ["keras-hub==0.32.0"]
OF_KERAS_HUB = ["absl-py", "kagglehub", "packaging", "regex", "rich", "sentencepiece"]
OF_KERAS_HUB += ["tokenizers"]
# Where Keras on JAX exports models: it needs TensorFlow for that.
SERVING = "serving"

# The newest Keras that can be had, in an environment that sees another one's packages.
NIGHTLY = "keras-nightly"

# Outside the package: neither built nor compared.
_NO_SOURCES = (".*", "__pycache__", "*.egg-info", "build", "dist", "output")


class InstallationError(Exception):
    """A command that makes or fills an environment failed; it said why itself."""


def python_of(name: str) -> Path:
    """The interpreter of an environment, whether it exists yet or not."""
    return ENVIRONMENTS / name / "bin" / "python"


def ready(name: str, level: str = "test", quiet: bool = True) -> Path:
    """Create or complete a backend's environment and return its interpreter."""
    levels = list(LEVELS)
    wanted = levels.index(level)
    wheel, package = _wheel()
    pins = [*PINS[name], *OF_TESTS.get(name, []), *KERAS_HUB, *OF_KERAS_HUB]
    dependencies = _digest(_project_table(), *pins, *_interpreter())
    stamp = _stamp_of(name, dependencies)
    if stamp["level"] < wanted:
        with _announced(name):
            backends = ["jax", "tensorflow"] if name == SERVING else [name]
            extras = ",".join([LEVELS[level], *backends])
            wanted_by_tests = OF_TESTS[name] if level == "test" else []
            if level == "test" and name != SERVING:
                wanted_by_tests = [*wanted_by_tests, *OF_KERAS_HUB]
                _pip_install(name, ["--no-deps", *KERAS_HUB], quiet)
            packages = [f"{wheel}[{extras}]", *PINS[name], *wanted_by_tests]
            _pip_install(name, packages, quiet)
        fresh = stamp["package"] is None
        stamp |= {"level": wanted, "package": package if fresh else stamp["package"]}
        _write_stamp(name, stamp)
    if stamp["package"] != package:
        _pip_install(name, ["--no-deps", "--force-reinstall", str(wheel)], quiet=True)
        _write_stamp(name, stamp | {"package": package})
    return python_of(name)


def nightly_ready(backend: str) -> str:
    """Complete an environment with Keras' nightly version; returns the version.

    Everything else in it is what the backend's own environment holds.
    """
    name = f"nightly-{backend}"
    stamp = _stamp_of(name, _digest(NIGHTLY, *_interpreter()))
    (packages,) = (ENVIRONMENTS / name).glob("lib/python*/site-packages")
    if stamp["level"] < 0:
        (others,) = (ENVIRONMENTS / backend).glob("lib/python*/site-packages")
        with _announced(name):
            _pip_install(name, ["--no-deps", "--pre", NIGHTLY], quiet=True)
        (packages / "others.pth").write_text(f"{others}\n")  # searched last
        _write_stamp(name, stamp | {"level": 0})
    (found,) = packages.glob("keras_nightly-*.dist-info")
    return found.stem.removeprefix("keras_nightly-")


def lint_ready() -> Path:
    """Create the environment of the linter and the type checker."""
    extras = _project_table()["project"]["optional-dependencies"]
    requirements = [*extras["lint"], *PINS["lint"]]
    stamp = _stamp_of("lint", _digest(requirements, *_interpreter()))
    if stamp["level"] < 0:
        with _announced("lint"):
            _pip_install("lint", requirements, quiet=True)
        _write_stamp("lint", stamp | {"level": 0})
    return python_of("lint")


def clean_variables() -> dict[str, str]:
    """This process's variables without those that add to an environment's packages."""
    foreign = ("PYTHONPATH", "PYTHONHOME")
    return {k: v for k, v in os.environ.items() if k not in foreign}


def _stamp_of(name: str, dependencies: str) -> dict[str, Any]:
    """What the environment holds; it is made anew where it does not fit any more."""
    folder = ENVIRONMENTS / name
    with contextlib.suppress(OSError, ValueError):
        stamp: dict[str, Any] = json.loads((folder / "stamp.json").read_text())
        if stamp["dependencies"] == dependencies and python_of(name).exists():
            return stamp
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    return {"dependencies": dependencies, "level": -1, "package": None}


def _write_stamp(name: str, stamp: dict[str, Any]) -> None:
    (ENVIRONMENTS / name / "stamp.json").write_text(json.dumps(stamp))


def _wheel() -> tuple[Path, str]:
    """The package as a wheel, built once for each state of its sources, and that state.

    Built from a copy: setuptools leaves a build folder behind, out of which modules
    that are long deleted would find their way into the next wheel.
    """
    digest = _digest(_project_table(), *_sources())
    folder = ENVIRONMENTS / "package" / digest
    if not list(folder.glob("*.whl")):
        shutil.rmtree(folder.parent, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "checkout"
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NO_SOURCES))
            pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
            _run([*pip, "--wheel-dir", str(folder), str(copy)])
    return next(folder.glob("*.whl")), digest


def _sources() -> list[bytes]:
    names = ["README.md", "LICENSE"]
    files = [ROOT / name for name in names if (ROOT / name).exists()]
    package = (p for p in (ROOT / "keras_mono").rglob("*") if p.is_file())
    files += sorted(p for p in package if "__pycache__" not in p.parts)
    return [
        part
        for file in files
        for part in (str(file.relative_to(ROOT)).encode(), file.read_bytes())
    ]


def _project_table() -> dict[str, Any]:
    """What pyproject.toml says about the package, without the tools' settings."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return {key: table[key] for key in ("build-system", "project")}


def _interpreter() -> tuple[str, str]:
    return sys.base_prefix, ".".join(map(str, sys.version_info[:2]))


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part).encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _announced(name: str) -> Iterator[None]:
    print(f"Installing what .envs/{name} needs; this happens once ...", flush=True)
    start = time.monotonic()
    yield
    print(f".envs/{name} is ready after {time.monotonic() - start:.0f} s", flush=True)


def _pip_install(name: str, arguments: list[str], quiet: bool) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(python_of(name)), "install"]
    options = ["--no-input", "--disable-pip-version-check"]
    _run([*pip, *options, *(["--quiet"] if quiet else []), *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=clean_variables(), stdin=subprocess.DEVNULL)
    if done.returncode:
        shown = " ".join(command)
        raise InstallationError(f"exit status {done.returncode} of: {shown}")
