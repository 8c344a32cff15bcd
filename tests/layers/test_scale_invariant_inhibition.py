"""`MonosemanticInhibition(gradient="scale_invariant")` in models that train."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.oracle import Oracle
from support.small import chain, dtype_policy, fit, normal, student_t
from support.training import numbers

RATE, STRENGTH = 0.1, 2.0
OPTIONS = {"start_step": 2, "forget_steps": 3}
INVARIANT = {"gradient": "scale_invariant", **OPTIONS}


def data():
    return student_t(3, 32, 5), normal(32, 2, seed=1)


def network(**compiled):
    return chain(
        (5,),
        keras.layers.Dense(6, use_bias=False),
        km.layers.MonosemanticInhibition(2, STRENGTH, axis=-1, **INVARIANT),
        keras.layers.Dense(2, use_bias=False),
        optimizer=keras.optimizers.SGD(RATE),
        **compiled,
    )


class Expected:
    """The same network in NumPy, float64."""

    def __init__(self, model):
        self.below, self.above = (numbers(w) for w in model.trainable_variables)
        self.oracle = Oracle(axes=(1,), select_count=2, **OPTIONS)

    def train(self, x, y):
        z = (x @ self.below).astype("float64")
        known = self.oracle.count is not None
        mean = self.oracle.mean if known else np.zeros((1, 6))
        out, selected = self.oracle.train(z)
        error = 2 * (out @ self.above - y) / y.size
        g = error @ self.above.T
        pulled = STRENGTH * np.abs(g) * np.sign(z - mean) - g
        change, d = np.where(selected, pulled, 0.0), z - z.mean(axis=0)
        along = (change * d).sum(axis=0) / (d**2).sum(axis=0)
        change = change - change.mean(axis=0) - along * d
        self.above = self.above - RATE * out.T @ error
        self.below = self.below - RATE * x.T @ (g + change)
        return selected.sum()


WAYS = {"fit": {}, "eager": {"run_eagerly": True}, "jit": {"jit_compile": True}}
if keras.config.backend() == "torch":
    del WAYS["jit"]


@pytest.mark.parametrize("way", WAYS)
def test_training_equals_the_same_steps_in_numpy(way):
    model, (x, y) = network(**WAYS[way]), data()
    expected, number = Expected(model), 0
    fit(model, x, y, epochs=3)
    for _ in range(3):
        for start in range(0, 32, 8):
            number += expected.train(x[start : start + 8], y[start : start + 8])
    assert number > 100
    for variable, value in zip(
        model.trainable_variables, (expected.below, expected.above), strict=True
    ):
        np.testing.assert_allclose(numbers(variable), value, rtol=1e-3, atol=1e-5)


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
