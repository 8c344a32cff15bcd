"""Reports: models that are frozen or hold our layers, and what cannot be written."""

import keras
import pytest

import keras_mono as km
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


def test_frozen_models_and_our_layers_in_the_report(tmp_path):
    z, labels = labelled_data()
    keras.utils.set_random_seed(0)
    frozen = one_layer(3)
    frozen.trainable = False
    watched = km.insert_after(one_layer(6), "units", km.layers.MonosemanticScale())
    models = {"frozen": frozen, "watched": watched}
    path = A.report(models, z, labels, ["units"], tmp_path / "a.html", verbose=0)
    assert "frozen: 18 weights; watched: 36 weights." in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("models", "path", "message"),
    [
        ({}, "a.html", "`models` must be a Keras model"),
        ("model.keras", "a.html", "`models` must be a Keras model"),
        (None, "", "must be a file in a folder that exists"),
        (None, "nowhere/a.html", "must be a file in a folder that exists"),
    ],
)
def test_reports_that_cannot_be_written(models, path, message, tmp_path):
    z, labels = labelled_data()
    models = one_layer() if models is None else models
    with pytest.raises(ValueError, match=message):
        A.report(models, z, labels, ["units"], tmp_path / path, verbose=0)
