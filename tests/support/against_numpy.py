"""A layer between two others, trained by SGD, beside the same steps in NumPy."""

import keras
import numpy as np

from support.oracle import Oracle
from support.small import chain, fit, normal, student_t
from support.training import numbers

OPTIONS = {"start_step": 2, "forget_steps": 3}
WAYS = {"fit": {}, "eager": {"run_eagerly": True}, "jit": {"jit_compile": True}}
if keras.config.backend() == "torch":
    del WAYS["jit"]


def data():
    return student_t(3, 32, 5), normal(32, 2, seed=1)


def network(layer, rate, **compiled):
    return chain(
        (5,),
        keras.layers.Dense(6, use_bias=False),
        layer,
        keras.layers.Dense(2, use_bias=False),
        optimizer=keras.optimizers.SGD(rate),
        **compiled,
    )


class InNumpy:
    """The network in float64. A subclass says what the layer does.

    `through(z)` gives what the layer passes on; `back(g)`, called after it, the
    gradient of z from that of the value passed on.
    """

    def __init__(self, model, rate):
        self.below, self.above = (numbers(w) for w in model.trainable_variables)
        self.rate = rate
        self.oracle = Oracle(axes=(1,), select_count=2, **OPTIONS)

    def train(self, x, y):
        out = self.through((x @ self.below).astype("float64"))
        error = 2 * (out @ self.above - y) / y.size
        gradient = self.back(error @ self.above.T)
        self.above = self.above - self.rate * out.T @ error
        self.below = self.below - self.rate * x.T @ gradient


def assert_trains_alike(model, expected):
    """Three epochs of both; then their weights are equal."""
    x, y = data()
    fit(model, x, y, epochs=3)
    for _ in range(3):
        for start in range(0, 32, 8):
            expected.train(x[start : start + 8], y[start : start + 8])
    for variable, value in zip(
        model.trainable_variables, (expected.below, expected.above), strict=True
    ):
        np.testing.assert_allclose(numbers(variable), value, rtol=1e-3, atol=1e-5)
