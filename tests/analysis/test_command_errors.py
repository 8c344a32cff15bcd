"""`python -m keras_mono report` tells what is wrong in words, not in tracebacks."""

import io
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_mono.__main__ import main
from support import small


@pytest.fixture
def model(tmp_path):
    layers = [
        keras.Input((4,), dtype="int32"),
        keras.layers.Embedding(10, 3, name="embedding"),
    ]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    return str(tmp_path / "m.keras")


def saved(path, **arrays):
    content = {"x": np.ones((8, 4), "int32"), "labels": np.arange(8) % 2, **arrays}
    np.savez_compressed(path, **content)
    return path


def told(capsys, model, data, *more):
    """The error that the command tells."""
    given = ["report", model, "--data", str(data), "--layers", "embedding", *more]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error[error.index("error: ") :]


def damaged_stream(path):
    """The compressed bytes of an array are changed; names and sizes are right."""
    content = bytearray(saved(path).read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entry = file.infolist()[0]
    start = entry.header_offset + 30 + len(entry.filename)
    content[start + 20 : start + 40] = b"\xff" * 20
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(saved(path).read_bytes()[:-40])


def encrypted(path):
    content = bytearray(saved(path).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:  # the flag says so
            content[at + offset] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)


def enormous(path):
    """An array's header states 2**60 numbers."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)}
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", header.getvalue())


def python_objects(path):
    saved(path, labels=np.array(["a", None] * 4, object))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "break_it", [damaged_stream, cut_off, encrypted, enormous, python_objects]
)
def test_damaged_files(break_it, tmp_path, model, capsys):
    break_it(tmp_path / "d.npz")
    error = told(capsys, model, tmp_path / "d.npz")
    assert "is not a file of numpy.savez that is whole" in error


@pytest.mark.one_backend
def test_labels_without_an_order(tmp_path, model, capsys):
    data = saved(tmp_path / "d.npz", labels=np.array([1j, 2j] * 4))
    assert "numbers that have an order" in told(capsys, model, data)


@pytest.mark.one_backend
def test_ids_beyond_the_vocabulary(tmp_path, model, capsys):
    data = saved(tmp_path / "d.npz", x=np.full((8, 4), 10, "int32"))
    if keras.config.backend() == "jax":
        pytest.skip("JAX reads on beyond the end of an array, by its own rules")
    if small.on_gpu():
        pytest.skip("PyTorch asserts on the GPU, and the process cannot go on")
    assert "whether ids lie within the vocabulary" in told(capsys, model, data)


@pytest.mark.one_backend
def test_names_with_bytes_that_are_no_text(tmp_path, model, monkeypatch):
    data = saved(tmp_path / "d.npz", x=np.arange(32).reshape(8, 4) % 10)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    out = str(tmp_path / "a\udcff.html")
    given = ["report", model, "--data", str(data), "--layers", "embedding"]
    assert main([*given, "--out", out, "--title", "caf\udce9"]) == 0
    stream.flush()
    assert "a\\udcff.html" in stream.buffer.getvalue().decode()
