import keras
import numpy as np
import pytest

import keras_mono as km


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5), (4, 2, 3, 5), (2, 2, 2, 2, 5)])
@pytest.mark.parametrize("compensation", [0.0, 0.01, 1.0])
def test_definition(shape, compensation):
    rng = np.random.default_rng(0)
    z = rng.normal(size=shape).astype("float32")
    mean, variance = rng.normal(size=shape[1:]), rng.random(shape[1:])
    expected = (z - mean) ** 2 / (variance + compensation * variance.mean())
    phi = km.ops.monosemantic_scale(z, mean, variance, compensation)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(phi), expected, rtol=2e-5)


def test_zero_where_the_denominator_is_zero():
    z = np.array([[1.0, 2.0]], "float32")
    phi = km.ops.monosemantic_scale(z, [0.0, 0.0], [0.0, 2.0])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(phi), [[0.0, 2.0]])
    nowhere = km.ops.monosemantic_scale(z, [0.0, 0.0], [0.0, 0.0], 0.01)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(nowhere), [[0.0, 0.0]])
