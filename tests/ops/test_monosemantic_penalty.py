import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from support.training import numbers, value_and_gradient


class Penalty(keras.layers.Layer):
    """The penalty of what is selected, as a layer, to get its gradient."""

    def __init__(self, selected, mean):
        super().__init__()
        self.selected, self.mean = selected, mean

    def build(self, _shape):
        pass

    def call(self, z, training=None):  # noqa: ARG002
        return km.ops.monosemantic_penalty(z, self.selected, self.mean)


def penalty_and_gradient(z, selected, mean, upstream=1.0):
    return value_and_gradient(Penalty(selected, mean), z, np.float32(upstream))


@given(st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([0.02, 0.5, 1.0]))
def test_equals_the_formula(seed, upstream, share):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(5, 4, 6)).astype("float32")
    mean = rng.normal(size=(1, 1, 6)).astype("float32")
    selected = rng.random(z.shape) < share
    value, gradient = penalty_and_gradient(z, selected, mean, upstream)
    deviation = z.astype("float64") - mean
    count = max(selected.sum(), 1)
    expected = np.log(deviation**2)[selected].sum() / count
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    pull = np.where(selected, 2 * np.float32(upstream) / (count * deviation), 0)
    np.testing.assert_allclose(gradient, pull, rtol=1e-3, atol=1e-6)


class Transposed(Penalty):
    """What a Permute layer hands on: axes in another order than in memory."""

    def call(self, z, training=None):
        z = keras.ops.transpose(z, (0, 2, 1))
        return super().call(z, training)


def test_axes_in_another_order_than_in_memory():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 4, 6)).astype("float32")
    mean = rng.normal(size=(1, 1, 4)).astype("float32")
    selected = rng.random((5, 6, 4)) < 0.3
    layer = Transposed(selected, mean)
    value, gradient = value_and_gradient(layer, z, np.float32(1))
    turned = z.transpose(0, 2, 1)
    expected, pull = penalty_and_gradient(turned, selected, mean)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, pull.transpose(0, 2, 1), rtol=1e-6)


def test_nothing_selected_gives_zero_and_zero_gradient():
    z = np.array([[1.0, np.nan, np.inf, 0.0]], "float32")
    value, gradient = penalty_and_gradient(z, np.zeros((1, 4), bool), np.zeros((1, 4)))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((1, 4)))


@pytest.mark.parametrize("deviation", [0.0, 1e-30, -1e-20])
def test_at_the_mean_it_is_finite_and_has_no_gradient(deviation):
    z = np.array([[deviation, 2.0, np.inf, np.nan]], "float32")
    selected = np.array([[True, True, False, False]])
    value, gradient = penalty_and_gradient(z, selected, np.zeros((1, 4), "float32"))
    np.testing.assert_allclose(value, (np.log(1e-36) + np.log(4)) / 2, rtol=1e-5)
    np.testing.assert_allclose(gradient, [[0, 0.5, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("deviation", [1e-15, 1e15])
def test_extreme_deviations(deviation):
    z = np.array([[deviation]], "float32")
    value, gradient = penalty_and_gradient(z, np.ones((1, 1), bool), np.zeros((1, 1)))
    np.testing.assert_allclose(value, 2 * np.log(deviation), rtol=1e-5)
    np.testing.assert_allclose(gradient, [[2 / deviation]], rtol=1e-5)


def test_half_precision_inputs_give_a_float32_penalty():
    z = keras.ops.cast(np.array([[1.0, 3.0]], "float32"), "bfloat16")
    value = km.ops.monosemantic_penalty(z, np.array([[False, True]]), 1.0)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(numbers(value), np.log(4), rtol=1e-6)


@pytest.mark.parametrize("selected", [True, np.ones((3, 2), bool), np.ones(3, bool)])
def test_selected_must_have_the_shape_of_z(selected):
    z = np.ones((2, 3), "float32")
    for op in (km.ops.monosemantic_penalty, km.ops.deactivate):
        with pytest.raises(ValueError, match=r"`selected` must have the shape of `z`"):
            op(z, selected, 0.0)
