"""The page on compatibility, "Magnitudes": what holds for N(0, 1) times which scale.

Expected values are float64's, of the same float32 activations.
"""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

XLA = keras.config.backend() != "torch"  # and TensorFlow: subnormal numbers are 0


class Seen:
    """A layer after five batches of the scale, and what a sixth gets, against float64.

    `variance` and `phi` are relative errors, of φ from 0.1 on.
    """

    def __init__(self, scale):
        z = np.random.default_rng(0).normal(size=(6, 64, 6)) * scale
        z = z.astype("float32")
        layer = km.layers.MonosemanticInhibition(start_step=1, forget_steps=None)
        for batch in z[:-1]:
            layer(batch, training=True)
        seen, last = z[:-1].astype("float64").reshape(-1, 6), z[-1].astype("float64")
        variance = seen.var(0, ddof=1)
        phi = (last - seen.mean(0)) ** 2 / (variance + 0.01 * variance.mean())
        self.variance = np.abs(numbers(layer.variance) / variance - 1).max()
        large = phi >= 0.1
        self.phi = np.abs(numbers(layer.score(z[-1])) / phi - 1)[large].max()
        output = numbers(layer(z[-1], training=True))
        self.changed = output != z[-1]
        self.right = self.changed == (phi == phi.max(1, keepdims=True))
        self.left_out = int(numbers(layer.non_finite)) / z.size
        for variable in layer.saved_variables():
            assert np.isfinite(numbers(variable)).all()
        assert np.isfinite(output).all()


@pytest.mark.parametrize("exponent", range(-16, 16))
def test_right_from_1e_minus_16_to_1e15(exponent):
    seen = Seen(10.0**exponent)
    assert seen.variance < 1e-6
    assert seen.phi < 1e-5
    assert seen.right.all()
    assert seen.left_out == 0


@pytest.mark.parametrize(
    ("exponent", "error"), [(-17, 1e-5), (-18, 0.02 if XLA else 1e-5)]
)
def test_squares_lose_digits_below(exponent, error):
    seen = Seen(10.0**exponent)
    assert seen.variance < error
    assert seen.phi < error
    assert seen.right.all()
    if error > 1e-5:
        assert seen.phi > error / 2


@pytest.mark.parametrize("exponent", [-19, -20, -21, -22, -30])
def test_nothing_is_selected_of_the_smallest(exponent):
    seen = Seen(10.0**exponent)
    assert not seen.changed.any()
    assert seen.left_out == 0


@pytest.mark.parametrize(
    ("exponent", "least", "most"), [(16, 1e-4, 1e-3), (17, 0.7, 0.8), (18, 0.95, 0.99)]
)
def test_the_largest_are_left_out(exponent, least, most):
    """Of what remains neither variance nor φ is right, and some is selected."""
    seen = Seen(10.0**exponent)
    assert least < seen.left_out < most
    assert seen.variance > 0.01
    assert seen.changed.any()


@pytest.mark.parametrize("exponent", [22, 25, 30])
def test_everything_is_left_out_beyond(exponent):
    seen = Seen(10.0**exponent)
    assert seen.left_out == 1.0
    assert not seen.changed.any()
