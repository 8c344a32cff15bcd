"""A selection over positions leaks the future; one per position does not."""

import numpy as np
import pytest

import keras_mono as km
from support.training import value_and_gradient


def trained_outputs(per, later):
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticInhibition(
        km.selectors.TopK(1, per=per), axis=-1, start_step=1
    )
    for _ in range(3):
        warm = rng.normal(size=(16, 6, 8)).astype("float32")
        value_and_gradient(layer, warm, warm)
    z = rng.normal(size=(16, 6, 8)).astype("float32")
    z[:, 3:] += later * rng.normal(size=(16, 3, 8)).astype("float32")
    out, gradient = value_and_gradient(layer, z, np.ones(z.shape))
    return np.concatenate([out[:, :3], gradient[:, :3]])


def test_per_position_ignores_later_tokens():
    before, after = (trained_outputs("position", later) for later in (0.0, 10.0))
    np.testing.assert_array_equal(before, after)


def test_per_sample_does_not():
    before, after = (trained_outputs("sample", later) for later in (0.0, 10.0))
    assert (before != after).any()


@pytest.mark.parametrize("axis", [None, 2, (1, 2)])
def test_the_channels_of_a_position_are_ranked(axis):
    layer = km.layers.MonosemanticInhibition(
        km.selectors.TopK(2, per="position"), axis=axis, start_step=1
    )
    rng = np.random.default_rng(0)
    for _ in range(2):
        z = rng.normal(size=(16, 6, 8)).astype("float32")
        out, _ = value_and_gradient(layer, z, z)
    assert ((out != z).sum(axis=2) == 2).all()
