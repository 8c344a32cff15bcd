"""`python -m keras_mono report`, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mono.__main__ import main
from support import planted

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


@pytest.mark.one_backend
def test_a_page_that_compares(tmp_path, data, capsys):
    models = [saved(tmp_path / f"{n}.keras", n) for n in (4, 9)]
    out = str(tmp_path / "page.html")
    given = ["report", *models, "--data", data, "--layers", "hidden", "--out", out]
    assert main(given) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    text = Path(out).read_text("utf-8")
    assert "700 inputs of 4 features" in text
    assert "9, hidden: " in text


@pytest.mark.one_backend
def test_the_page_and_the_json_file(tmp_path, data, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with np.load(data) as arrays:
        texts = [f"text {i}" for i in range(len(arrays["labels"]))]
        np.savez("more.npz", texts=texts, **arrays)
    model = saved(tmp_path / "a.keras", 3)
    given = ["report", model, "--data", "more.npz", "--layers", "hidden", "--top", "2"]
    given += ["--shown", "texts"]
    assert main([*given, "--json", "a.json"]) == 0
    assert capsys.readouterr().out.endswith("wrote a.json\n")
    assert not Path("report.html").exists()
    content = json.loads(Path("a.json").read_text("utf-8"))
    neurons = content["models"][0]["layers"][0]["neurons"]
    assert [len(n["strongest"]["sample"]) for n in neurons] == [2, 2, 2]
    assert content["samples"]["kind"] == "texts"
    assert all(v == f"text {k}" for k, v in content["samples"]["shown"].items())
    assert main([*given, "--json", "b.json", "--html", "b.html"]) == 0
    assert capsys.readouterr().out.endswith("wrote b.html\nwrote b.json\n")
    assert Path("b.json").read_text("utf-8") == Path("a.json").read_text("utf-8")
    assert main(given) == 0
    assert Path("report.html").exists()


@pytest.mark.one_backend
def test_the_inputs_can_be_what_is_shown(tmp_path, data, capsys):
    with np.load(data) as arrays:
        images = arrays["x"].reshape(-1, N, 1, 1)
        np.savez(tmp_path / "i.npz", x=images, labels=arrays["labels"])
    layers = [keras.Input((N, 1, 1)), keras.layers.Flatten(name="hidden")]
    keras.Sequential(layers).save(tmp_path / "a.keras")
    given = ["report", str(tmp_path / "a.keras"), "--data", str(tmp_path / "i.npz")]
    given += ["--layers", "hidden", "--json", str(tmp_path / "a.json"), "--shown"]
    assert main([*given, "x"]) == 0
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert content["samples"]["kind"] == "images"
    assert main([*given, "nothing"]) == 2
    assert "the array `nothing` to show" in capsys.readouterr().err


def test_errors_are_told_in_a_line(tmp_path, data, capsys):
    model = saved(tmp_path / "a.keras", 3)
    assert main(["report", model, "--data", data, "--layers", "nowhere"]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("error: ")
    assert "hidden" in told
    other = str(tmp_path / "no.npz")
    np.savez(other, x=np.zeros(3))
    assert main(["report", model, "--data", other, "--layers", "hidden"]) == 2
    assert "must hold the array `labels`" in capsys.readouterr().err


@pytest.mark.one_backend
def test_it_is_a_module_that_runs():
    done = subprocess.run(
        [sys.executable, "-m", "keras_mono"], capture_output=True, text=True
    )
    assert done.returncode == 2
    # TensorFlow may say something of its own before.
    assert "usage: python -m keras_mono [-h] COMMAND" in done.stderr
