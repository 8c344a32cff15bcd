"""Exported models give the outputs of the Keras models, with our layers and without.

An export runs where its packages are: SavedModel needs TensorFlow, ONNX a converter for
each backend. `make test` has an environment with all of them.
"""

import importlib.util

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

BACKEND = keras.config.backend()
CONVERTERS = {"torch": "onnxscript", "tensorflow": "tf2onnx", "jax": "jax2onnx"}


def installed(*modules):
    return all(importlib.util.find_spec(name) for name in modules)


CAN_SAVE = BACKEND != "torch" and installed("tensorflow")
CAN_ONNX = installed("onnx", "onnxruntime", CONVERTERS[BACKEND])


def data():
    return np.random.default_rng(0).standard_t(3, size=(16, 8)).astype("float32")


def model_of(kind):
    """A trained model with both layers, or what `strip` makes of it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu"),
            km.layers.MonosemanticInhibition(start_step=1),
            km.layers.MonosemanticPenalty(start_step=1),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(data(), np.zeros((16, 2)), batch_size=4, verbose=0)
    model = model if kind == "inserted" else km.strip(model)
    return model, numbers(model(data()))  # PyTorch exports what has been called


@pytest.mark.support("export to SavedModel")
@pytest.mark.skipif(not CAN_SAVE, reason="needs TensorFlow, and not PyTorch")
@pytest.mark.parametrize("kind", ["stripped", "inserted"])
def test_saved_model(kind, tmp_path):
    import tensorflow as tf

    model, expected = model_of(kind)
    model.export(tmp_path / "served", format="tf_saved_model", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(data()).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.support("export to ONNX")
@pytest.mark.skipif(not CAN_ONNX, reason="needs onnx, onnxruntime and a converter")
@pytest.mark.parametrize("kind", ["stripped", "inserted"])
def test_onnx(kind, tmp_path):
    import onnxruntime

    model, expected = model_of(kind)
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (name,) = (x.name for x in session.get_inputs())
    (found,) = session.run(None, {name: data()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.support("export to SavedModel", torch="Keras' error: needs TensorFlow")
@pytest.mark.skipif(BACKEND != "torch" or installed("tensorflow"), reason="other")
def test_on_pytorch_alone_keras_says_what_a_saved_model_needs(tmp_path):
    model, _ = model_of("stripped")
    with pytest.raises(ImportError, match="requires the tensorflow module"):
        model.export(tmp_path / "served", format="tf_saved_model", verbose=False)
