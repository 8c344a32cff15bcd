"""Every version loads what version 0.1 saved: see data/make_model_0_1.py."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture
def saved():
    with np.load(DATA / "model_0_1.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def model():
    loaded = keras.saving.load_model(DATA / "model_0_1.keras")
    # JAX saved `jit_compile=True`; on PyTorch that takes minutes: compile for here.
    loaded.compile(keras.optimizers.SGD(0.05), "mse")
    return loaded


def assert_state(model, saved, prefix):
    for name in ("scale", "inhibition"):
        variables = {v.name: numbers(v) for v in model.get_layer(name).variables}
        expected = {
            key.rpartition("/")[2]: value
            for key, value in saved.items()
            # Settings belong to the config: see test_arguments.
            if key.startswith(f"{prefix}/{name}/")
            and not key.endswith(("/strength", "/enabled"))
        }
        for key, value in expected.items():
            np.testing.assert_allclose(
                variables[key], value, rtol=1e-5, atol=1e-6, err_msg=key
            )
        assert {"mean", "variance", "count", "step"} <= expected.keys()


def test_arguments(model):
    scale, inhibition = model.get_layer("scale"), model.get_layer("inhibition")
    assert isinstance(scale, km.layers.MonosemanticScale)
    assert isinstance(inhibition, km.layers.MonosemanticInhibition)
    assert scale.axis == -1
    assert inhibition.axis is None
    assert (inhibition.select.k, inhibition.select.per) == (2, "position")
    assert inhibition.strength == 5.0
    assert (inhibition.forget_steps, inhibition.start_step) == (4, 3)
    assert inhibition.variance_compensation == 0.02


def test_state_and_outputs(model, saved):
    close = {"rtol": 1e-5, "atol": 1e-6}
    assert_state(model, saved, "state")
    inference = model.predict(saved["x"], verbose=0)
    np.testing.assert_allclose(inference, saved["inference"], **close)
    trained = numbers(model(saved["x"], training=True))
    np.testing.assert_allclose(trained, saved["training"], **close)
    assert np.abs(trained - inference).max() > 0.1
    assert_state(model, saved, "state_after")


def test_goes_on_training(model, saved):
    x = saved["x"]
    before = int(numbers(model.get_layer("inhibition").step))
    model.fit(x, np.zeros((8, 4, 2), "float32"), batch_size=4, verbose=0)
    assert int(numbers(model.get_layer("inhibition").step)) == before + 2
