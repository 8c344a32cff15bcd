"""`merge_moments` where a count times a variance leaves float32."""

import keras
import numpy as np
import pytest

import keras_mono as km


def oracle(count, mean, variance, batch_count, batch_mean, batch_variance):
    total = count + batch_count
    between = count * batch_count / total * (mean - batch_mean) ** 2
    within = (count - 1) * variance + batch_count * batch_variance
    return (
        total,
        mean + (batch_mean - mean) * batch_count / total,
        (within + between) / (total - 1),
    )


@pytest.mark.parametrize(
    "given",
    [
        (1e9, 0.0, 1e30, 32.0, 1e15, 1e30),
        (1e20, 3.0, 1e30, 1e5, 4.0, 1e32),
        (32.0, 0.0, 1e30, 1e9, 1e15, 1e30),
        (1e9, 0.0, 1e-30, 32.0, 1e-15, 1e-30),
        (2.0, 0.0, 1e30, 1e9, 0.0, 1.0),
        (1e9, 0.0, 1.0, 2.0, 0.0, 1e30),
        (1.0, 2.0, 0.0, 1.0, 4.0, 0.0),
        (5.0, 2.0, 3.0, 5.0, 4.0, 2.0),
    ],
)
def test_nothing_overflows_and_nothing_is_lost(given):
    got = km.ops.merge_moments(*(np.float32(x) for x in given))
    got = [float(keras.ops.convert_to_numpy(x)) for x in got]
    np.testing.assert_allclose(got, oracle(*given), rtol=2e-6)
