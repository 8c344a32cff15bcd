"""The moments that a compiled call takes on PyTorch."""

import keras
import numpy as np
import pytest

if keras.config.backend() != "torch":
    pytest.skip("PyTorch's", allow_module_level=True)

import torch

from keras_mono.backend.torch.sums import compiled_moments

RNG = np.random.default_rng(0)


def far_from_zero():
    return RNG.normal(1000.0, 0.01, (12, 7, 5)), RNG.random((12, 7, 5)) < 0.7


def one_sample_elsewhere():
    x, valid = far_from_zero()
    x[0] += 1e4
    return x, valid


def invalid_samples_and_neurons():
    x, valid = far_from_zero()
    valid[:3] = valid[:, :, 0] = False
    valid[:, :, 1] = False
    valid[5, 2, 1] = True
    x[~valid] = np.nan
    return x, valid


def equal_values():
    return np.full((12, 7, 5), 0.1), RNG.random((12, 7, 5)) < 0.7


@pytest.mark.parametrize("axes", [(0,), (0, 1)], ids=str)
@pytest.mark.parametrize(
    "make",
    [far_from_zero, one_sample_elsewhere, invalid_samples_and_neurons, equal_values],
)
def test_they_keep_their_digits(make, axes):
    x, valid = make()
    x = x.astype("float32")
    found = compiled_moments(torch.from_numpy(x), torch.from_numpy(valid), axes)
    count, near, rest, variance = (part.numpy().astype("float64") for part in found)
    kept = np.ma.masked_array(x.astype("float64"), ~valid)
    np.testing.assert_array_equal(count, valid.sum(axes, keepdims=True))
    mean = kept.mean(axes, keepdims=True).filled(0.0)
    expected = kept.var(axes, keepdims=True).filled(0.0)
    spread = np.sqrt(expected)
    np.testing.assert_array_less(np.abs(near + rest - mean), 1e-4 * spread + 1e-9)
    np.testing.assert_allclose(variance, expected, rtol=1e-4, atol=1e-16)
