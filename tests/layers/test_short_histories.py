"""Neurons that have been seen too seldom to be scored."""

import numpy as np
import pytest

import keras_mono as km
from support.training import numbers, value_and_gradient


def layer_that_has_seen(counts, **options):
    """One neuron for each count; it has seen that many values, batch size 4."""
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticInhibition(start_step=1, **options)
    z = rng.normal(size=(4, len(counts))).astype("float32")
    mask = np.arange(4)[:, None] < np.array(counts)
    layer(z, mask=mask, training=True)
    values = [z[:n, i].astype("float64") for i, n in enumerate(counts)]
    return layer, values


@pytest.mark.parametrize("include_current_batch", [False, True])
def test_a_neuron_is_scored_from_two_values_on(include_current_batch):
    layer, values = layer_that_has_seen(
        [0, 1, 2, 4], include_current_batch=include_current_batch
    )
    probe = np.full((1, 4), 5.0, "float32")
    variance = np.array([v.var(ddof=1) for v in values[2:]])
    mean = np.array([v.mean() for v in values[2:]])
    # The layer's average is over the neurons that have a variance.
    expected = (5.0 - mean) ** 2 / (variance + 0.01 * variance.mean())
    phi = numbers(layer.score(probe))[0]
    np.testing.assert_array_equal(phi[:2], [0.0, 0.0])
    np.testing.assert_allclose(phi[2:], expected, rtol=1e-5)


def test_only_scored_neurons_are_selected():
    layer, _ = layer_that_has_seen([0, 1, 2, 4], select=4)
    z = np.full((3, 4), 50.0, "float32")
    mean = numbers(layer.mean)[0]
    out, gradient = value_and_gradient(layer, z, np.ones(z.shape))
    np.testing.assert_array_equal(out, np.tile([50.0, 50.0, *mean[2:]], (3, 1)))
    np.testing.assert_array_equal(gradient, np.tile([1.0, 1.0, -1.0, -1.0], (3, 1)))


def test_nothing_is_selected_while_no_neuron_has_two_values():
    layer, _ = layer_that_has_seen([0, 1, 1, 0])
    z = np.full((3, 4), 50.0, "float32")
    out, _ = value_and_gradient(layer, z, z)
    np.testing.assert_array_equal(out, z)
    for variable in layer.variables:
        assert np.isfinite(numbers(variable)).all()


@pytest.mark.parametrize("per", ["sample", "position"])
def test_equal_activations_tie_and_are_all_inhibited(per):
    """Two neurons that are copies of one another have the same φ."""
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticInhibition(km.selectors.TopK(1, per), start_step=1)
    z = rng.normal(size=(8, 3)).astype("float32")[:, [0, 1, 1, 2]]
    layer(z, training=True)
    z[:, 1:3] = 20.0
    out, _ = value_and_gradient(layer, z, z)
    changed = np.tile([False, True, True, False], (8, 1))
    np.testing.assert_array_equal(out != z, changed)
