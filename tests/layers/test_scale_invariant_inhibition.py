"""`MonosemanticInhibition(gradient="scale_invariant")` in models that train."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import against_numpy
from support.against_numpy import OPTIONS, WAYS, InNumpy, assert_trains_alike, data
from support.small import chain, dtype_policy, fit, normal
from support.training import numbers

RATE, STRENGTH = 0.1, 2.0


def network(**compiled):
    layer = km.layers.MonosemanticInhibition(
        2, STRENGTH, axis=-1, gradient="scale_invariant", **OPTIONS
    )
    return against_numpy.network(layer, RATE, **compiled)


class Expected(InNumpy):
    number = 0  # selected

    def through(self, z):
        known = self.oracle.count is not None
        self.mean = self.oracle.mean if known else np.zeros((1, 6))
        self.z = z
        out, self.selected = self.oracle.train(z)
        self.number += self.selected.sum()
        return out

    def back(self, g):
        pulled = STRENGTH * np.abs(g) * np.sign(self.z - self.mean) - g
        change, d = np.where(self.selected, pulled, 0.0), self.z - self.z.mean(axis=0)
        along = (change * d).sum(axis=0) / (d**2).sum(axis=0)
        return g + change - change.mean(axis=0) - along * d


@pytest.mark.parametrize("way", WAYS)
def test_training_equals_the_same_steps_in_numpy(way):
    model = network(**WAYS[way])
    expected = Expected(model, RATE)
    assert_trains_alike(model, expected)
    assert expected.number > 100


def recurrent(gradient, strength=1.0):
    keras.utils.set_random_seed(0)
    inhibition = km.layers.MonosemanticInhibition(
        2, strength, gradient=gradient, start_step=1
    )
    cell = keras.layers.SimpleRNNCell(6)
    return chain((4, 5), km.layers.InhibitedRNN(cell, inhibition, name="rnn"))


def test_inside_a_recurrence():
    """From equal weights and statistics the step differs by the gradient alone."""
    x, y, kernels = normal(32, 4, 5), normal(32, 6, seed=1), {}
    for gradient in ("reversed", "scale_invariant"):
        model = recurrent(gradient)
        fit(model, x, y, batch_size=16)
        kernels[gradient] = numbers(model.trainable_variables[0])
        assert np.isfinite(kernels[gradient]).all()
    difference = kernels["scale_invariant"] - kernels["reversed"]
    assert np.abs(difference).max() > 1e-4


def test_mixed_precision_trains():
    with dtype_policy("mixed_bfloat16"):
        model = network()
    fit(model, *data(), epochs=3)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_it_is_saved(tmp_path):
    network().save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].gradient == "scale_invariant"
    assert km.layers.MonosemanticInhibition().gradient == "reversed"


def test_a_gradient_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`gradient` must be one of .*'reversed'"):
        km.layers.MonosemanticInhibition(gradient="directed")
