import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import value_and_gradient


class Deactivate(keras.layers.Layer):
    def __init__(self, selected, mean, strength, **kwargs):
        super().__init__(**kwargs)
        self.selected, self.mean_value, self.strength = selected, mean, strength
        self.built = True

    def call(self, z, training=None):  # noqa: ARG002
        return km.ops.deactivate(z, self.selected, self.mean_value, self.strength)


@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_value_is_the_mean_exactly_and_gradient_is_minus_strength(strength, dtype):
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(6, 7)) * 50).astype("float32")
    selected, mean = rng.random((6, 7)) < 0.3, rng.normal(size=7).astype("float32")
    upstream = rng.integers(-4, 4, size=(6, 7)).astype("float32")
    layer = Deactivate(selected, mean, strength, dtype=dtype)
    out, gradient = value_and_gradient(layer, z, upstream)
    as_dtype = keras.ops.convert_to_numpy(
        keras.ops.cast(keras.ops.cast(np.broadcast_to(mean, z.shape), dtype), "float32")
    )
    z_dtype = keras.ops.convert_to_numpy(
        keras.ops.cast(keras.ops.cast(z, dtype), "float32")
    )
    expected = np.where(selected, as_dtype, z_dtype)
    np.testing.assert_array_equal(out.astype("float32"), expected)
    expected = np.where(selected, -strength, 1.0) * upstream
    np.testing.assert_array_equal(gradient.astype("float32"), expected)


def test_non_finite_values_pass_with_their_gradient():
    z = np.array([[np.inf, -np.inf, np.nan, 2.0]], "float32")
    layer = Deactivate(np.array([[False, False, False, True]]), np.zeros(4, "f"), 3.0)
    out, gradient = value_and_gradient(layer, z, np.ones((1, 4)))
    np.testing.assert_array_equal(out, [[np.inf, -np.inf, np.nan, 0.0]])
    np.testing.assert_array_equal(gradient, [[1.0, 1.0, 1.0, -3.0]])


class ReplacedByTheOwnMean(keras.layers.Layer):
    """Selects everything and replaces it by a mean that depends on it."""

    def call(self, z, training=None):  # noqa: ARG002
        mean, strength = keras.ops.mean(z, axis=0), keras.ops.sum(z)
        return km.ops.deactivate(z, keras.ops.ones_like(z, "bool"), mean, strength)


def test_mean_and_strength_get_no_gradient():
    z = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    out, gradient = value_and_gradient(ReplacedByTheOwnMean(), z, np.ones((2, 2)))
    np.testing.assert_array_equal(out, [[2.0, 3.0], [2.0, 3.0]])
    np.testing.assert_array_equal(gradient, np.full((2, 2), -10.0))
