"""Files that the command cannot read."""

import zipfile

import numpy as np
import pytest

from keras_mono.__main__ import main
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend


def npz_of(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def test_the_command_tells_what_is_wrong_with_files(tmp_path, capsys):
    z, labels = labelled_data()
    model = tmp_path / "m.keras"
    one_layer().save(model)
    good = npz_of(tmp_path, x=z, labels=labels)
    np.save(tmp_path / "array.npy", z)
    (tmp_path / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as file:
        file.writestr("x.npy", "nothing")
    (tmp_path / "torn.npz").write_bytes(good.read_bytes()[:300])
    np.savez(tmp_path / "objects.npz", x=z, labels=labels.astype(object))
    (tmp_path / "bad.keras").write_text("no")

    def told(models, file):
        layers = ["--layers", "units", "--out", str(tmp_path / "out.html")]
        given = ["report", *map(str, models), "--data", str(file), *layers]
        assert main(given) == 2
        return capsys.readouterr().err

    assert "must hold the array `labels`" in told([model], tmp_path / "other.npz")
    for name in ("empty.npz", "torn.npz", "objects.npz"):
        assert "not a file of numpy.savez" in told([model], tmp_path / name), name
    assert "must hold the array `labels`" in told([model], tmp_path / "array.npy")
    assert "not a model that can be loaded" in told([tmp_path / "bad.keras"], good)
    assert "Name each model once" in told([model, model], good)
    assert "nowhere.npz" in told([model], tmp_path / "nowhere.npz")
