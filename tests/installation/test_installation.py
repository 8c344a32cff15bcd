"""The package works as installed, with the backend of this run and no other."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import keras_mono as km

ROOT = Path(__file__).resolve().parents[2]
OTHER_BACKENDS = sorted({"jax", "torch", "tensorflow"} - {keras.config.backend()})


def installed_files():
    return [str(path) for path in importlib.metadata.files("keras-mono")]


def test_the_tests_run_on_the_installed_package_not_on_the_checkout():
    folder = Path(km.__file__).resolve().parent
    assert folder.parent.name == "site-packages"
    assert folder != ROOT / "keras_mono"


def test_the_wheel_holds_every_module_and_what_belongs_to_it():
    package = ROOT / "keras_mono"
    files = {p for p in package.rglob("*") if p.is_file()}
    wanted = {
        p.relative_to(ROOT).as_posix() for p in files if "__pycache__" not in p.parts
    }
    found = {p for p in installed_files() if "__pycache__" not in p}
    assert wanted <= found
    assert "keras_mono/py.typed" in found
    for name in wanted:
        installed = Path(km.__file__).parent.parent / name
        assert installed.read_bytes() == (ROOT / name).read_bytes(), name


def test_the_wheel_holds_nothing_else():
    command = {path for path in installed_files() if path.endswith("/bin/keras-mono")}
    assert len(command) == 1
    tops = {path.split("/")[0] for path in {*installed_files()} - command}
    metadata = f"keras_mono-{km.__version__}.dist-info"
    assert tops == {"keras_mono", metadata}
    assert f"{metadata}/licenses/LICENSE" in installed_files()


@pytest.mark.one_backend
def test_the_command_is_the_module():
    command = Path(sys.executable).with_name("keras-mono")
    done = subprocess.run([command, "report", "-h"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: keras-mono report [-h]")


@pytest.mark.parametrize("module", OTHER_BACKENDS)
def test_the_other_backends_are_not_installed(module):
    assert importlib.util.find_spec(module) is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


def test_a_model_trains_with_one_backend_installed():
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], batch_size=16, epochs=2, verbose=0)
    assert int(model.get_layer("inhibition").step) == 8
    assert np.all(np.isfinite(model.predict(x, verbose=0)))


def test_the_package_works_without_the_optional_extras():
    """A plain install has none of them; blocking their import shows the same."""
    blocked = ["jinja2", "matplotlib", "pandas", "sklearn"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
import numpy as np
import keras_mono as km
layer = km.layers.MonosemanticInhibition()
layer(np.zeros((2, 3), "float32"), training=True)
km.callbacks.MonosemanticityMonitor()
"""
    # -P: the checkout, which is the working directory, must not be found.
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def brought_by(requirement, found=None):
    """The distributions that `pip install` of it installs, here and now."""
    found = set() if found is None else found
    wanted = Requirement(requirement)
    key = canonicalize_name(wanted.name)
    if (key, *sorted(wanted.extras)) in found:
        return found
    found |= {key, (key, *sorted(wanted.extras))}
    for line in importlib.metadata.requires(wanted.name) or []:
        marker = Requirement(line).marker
        extras = wanted.extras or {""}
        if marker is None or any(marker.evaluate({"extra": e}) for e in extras):
            brought_by(line, found)
    return found


@pytest.mark.slow
def test_the_first_program_runs_after_the_install_line_of_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    backend = keras.config.backend()
    line = re.search(r"^pip install .*$", readme, re.MULTILINE)[0]
    assert f'".[{backend}]"' in line
    program = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1]
    there = brought_by(f"keras-mono[{backend}]")
    blocked = {
        module
        for module, holders in importlib.metadata.packages_distributions().items()
        if not {canonicalize_name(name) for name in holders} & there
    }
    assert {"sklearn", "pandas", "pytest"} <= blocked
    code = f"import sys; sys.modules.update(dict.fromkeys({sorted(blocked)}))\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + program],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert "_ms_top1" in done.stdout
