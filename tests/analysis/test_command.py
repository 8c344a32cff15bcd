"""`python -m keras_mono report`, as a user runs it."""

import os
import subprocess
import sys

import keras
import numpy as np
import planted
import pytest

N = len(planted.TRUTH)


def saved(path, units):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((N,)), keras.layers.Dense(units, name="hidden")]
    keras.Sequential(layers).save(path)
    return str(path)


@pytest.fixture
def data(tmp_path):
    z, labels = planted.activations()
    np.savez(tmp_path / "data.npz", x=z.astype("float32"), labels=labels)
    return str(tmp_path / "data.npz")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "keras_mono", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def test_a_page_that_compares(tmp_path, data):
    models = [saved(tmp_path / f"{n}.keras", n) for n in (4, 9)]
    out = tmp_path / "page.html"
    done = run(
        "report", *models, "--data", data, "--layers", "hidden", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert f"wrote {out}" in done.stdout
    text = out.read_text("utf-8")
    assert "700 inputs of 4 features" in text
    assert "9, hidden: " in text


def test_errors_are_told_in_a_line(tmp_path, data):
    model = saved(tmp_path / "a.keras", 3)
    done = run("report", model, "--data", data, "--layers", "nowhere")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "hidden" in done.stderr
    np.savez(tmp_path / "no.npz", x=np.zeros(3))
    done = run(
        "report", model, "--data", str(tmp_path / "no.npz"), "--layers", "hidden"
    )
    assert done.returncode == 2
    assert "must hold the array `labels`" in done.stderr
    assert run().returncode == 2
