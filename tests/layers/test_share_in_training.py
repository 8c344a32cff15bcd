"""A layer's threshold in training, where mixtures move the statistics too."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import mostly_one_backend

STEPS, ROWS, UNITS = 800, 32, 16


class Shares(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        layer = self.model.get_layer("follows")
        self.found.append(layer.selector_state["selected_fraction"])


def scales(name):
    if name == "in turn":
        return np.where(np.arange(STEPS) % 2, 3.0, 1.0)
    if name == "every 10th":
        return np.where(np.arange(STEPS) % 10 == 9, 3.0, 1.0)
    return np.random.default_rng(1).lognormal(0.0, 0.6, STEPS)


@pytest.mark.parametrize(
    "name", mostly_one_backend(["in turn", "every 10th", "lognormal"], "lognormal")
)
def test_the_share_of_a_training_is_the_fraction(name):
    z = np.random.default_rng(2).normal(size=(STEPS, ROWS, UNITS))
    x = (scales(name)[:, None, None] * z).reshape(-1, UNITS).astype("float32")
    follows = km.layers.MonosemanticInhibition(0.02, axis=-1, name="follows")
    model = keras.Sequential([keras.Input((UNITS,)), follows, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    shares = Shares()
    y = np.zeros((len(x), 1), "float32")
    model.fit(x, y, batch_size=ROWS, shuffle=False, verbose=0, callbacks=[shares])
    assert 0.85 * 0.02 < np.mean(shares.found[210:]) < 1.15 * 0.02
