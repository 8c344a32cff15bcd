"""Batches that would break careless arithmetic."""

import numpy as np
import pytest

import keras_mono as km
from support.training import numbers, value_and_gradient


def layer_after(*batches, **options):
    options = {"start_step": 1, **options}
    layer = km.layers.MonosemanticInhibition(**options)
    for z in batches:
        value_and_gradient(layer, z, np.ones(np.shape(z)))
    return layer


def is_finite(layer):
    return all(np.isfinite(numbers(v)).all() for v in layer.variables)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e25, -1e38])
@pytest.mark.parametrize("where", ["first batch", "first sample", "later"])
@pytest.mark.parametrize("axis", [None, -1])
def test_bad_entries_are_neither_counted_nor_selected(bad, where, axis):
    clean = [normal(8, 4, 5, seed=s) for s in range(3)]
    spoiled = [z.copy() for z in clean]
    position = {"first batch": (0, 3, 1, 2), "first sample": (0, 0, 0, 0)}.get(
        where, (1, 5, 0, 3)
    )
    spoiled[position[0]][position[1:]] = bad
    kept = np.ones((3, 8, 4, 5), bool)
    kept[position] = False
    layer = layer_after(*spoiled, axis=axis)
    masked = km.layers.MonosemanticInhibition(axis=axis, start_step=1)
    for z, mask in zip(clean, kept, strict=True):
        value_and_gradient(masked, z, z, mask=mask)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(
            numbers(getattr(layer, name)), numbers(getattr(masked, name)), rtol=1e-4
        )
    np.testing.assert_array_equal(numbers(layer.count), numbers(masked.count))
    assert numbers(layer.non_finite) == 1
    assert numbers(masked.non_finite) == 0
    z = normal(8, 4, 5, seed=9)
    z[2, 1, 1] = bad
    out, gradient = value_and_gradient(layer, z, np.full(z.shape, 2.0))
    np.testing.assert_array_equal(out[2, 1, 1], z[2, 1, 1])
    assert gradient[2, 1, 1] == 2.0
    # the other activations of that sample are still selected
    assert (out[2] != z[2]).sum() - np.isnan(z[2]).sum() == 1
    assert is_finite(layer)


def test_a_batch_with_nothing_finite():
    layer = layer_after(normal(8, 5))
    before = [numbers(v) for v in (layer.mean, layer.variance, layer.count)]
    value_and_gradient(layer, np.full((8, 5), np.nan), np.ones((8, 5)))
    after = [numbers(v) for v in (layer.mean, layer.variance, layer.count)]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert numbers(layer.non_finite) == 40


def test_batches_of_one():
    layer = layer_after(*[normal(1, 5, seed=s) for s in range(6)])
    values = np.concatenate([normal(1, 5, seed=s) for s in range(6)])
    np.testing.assert_allclose(numbers(layer.mean)[0], values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(
        numbers(layer.variance)[0], values.var(0, ddof=1), rtol=1e-4
    )
    assert is_finite(layer)


PENALTIES = ["relative", "phi", "log_phi", "l2e"]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5)])
@pytest.mark.parametrize("form", PENALTIES)
def test_an_empty_batch_has_a_gradient_of_nothing(form, shape):
    """As of an expert that gets no token."""
    options = {"form": form, "axis": -1, "start_step": 1}
    layer = km.layers.MonosemanticPenalty(0.5, **options)
    layer.build((*[None] * (len(shape) - 1), 5))
    for seed in range(2):
        layer.update_statistics(normal(4, *[2] * (len(shape) - 2), 5, seed=seed))
    before = numbers(layer.mean)
    nothing = np.zeros(shape, "float32")
    _, gradient = value_and_gradient(layer, nothing, nothing)
    assert gradient.shape == shape
    np.testing.assert_array_equal(numbers(layer.mean), before)


def test_an_empty_batch_changes_nothing():
    layer = layer_after(normal(8, 5))
    before = [numbers(v) for v in (layer.mean, layer.variance, layer.count)]
    value_and_gradient(layer, np.zeros((0, 5)), np.zeros((0, 5)))
    after = [numbers(v) for v in (layer.mean, layer.variance, layer.count)]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("compensation", [0.0, 0.01])
def test_an_all_zero_layer_selects_nothing(compensation):
    zeros = np.zeros((8, 5), "float32")
    layer = layer_after(zeros, zeros, variance_compensation=compensation)
    out, gradient = value_and_gradient(layer, zeros, np.ones((8, 5)))
    np.testing.assert_array_equal(out, zeros)
    np.testing.assert_array_equal(gradient, np.ones((8, 5)))
    assert is_finite(layer)


def test_a_constant_neuron():
    z = [normal(8, 5, seed=s) for s in range(3)]
    for batch in z:
        batch[:, 2] = 7.0
    layer = layer_after(*z)
    assert numbers(layer.variance)[0, 2] == 0.0
    phi = numbers(layer.score(z[0]))
    assert np.isfinite(phi).all()
    np.testing.assert_array_equal(phi[:, 2], 0.0)
    z[0][0, 2] = 8.0  # now it fires: with compensation that is a large, finite φ
    assert 10 < numbers(layer.score(z[0]))[0, 2] < 1e4


@pytest.mark.parametrize("magnitude", [1e-15, 1e-6, 1e6, 1e15])
def test_magnitudes(magnitude):
    batches = [(normal(32, 5, seed=s) * magnitude).astype("float32") for s in range(4)]
    layer = layer_after(*batches, forget_steps=None)
    values = np.concatenate(batches).astype("float64")
    expected = (values - values.mean(0)) ** 2 / (
        values.var(0, ddof=1) + 0.01 * values.var(0, ddof=1).mean()
    )
    phi = numbers(layer.score(np.concatenate(batches)))
    np.testing.assert_allclose(phi, expected, rtol=1e-3, atol=1e-5)


def test_a_neuron_without_history_is_not_selected():
    """A position that padding has hidden so far has no mean to be replaced by."""
    layer = km.layers.MonosemanticInhibition(start_step=1)
    z = normal(8, 4, 3)
    mask = np.arange(4) < np.full((8, 1), 3)
    for _ in range(3):
        value_and_gradient(layer, z, z, mask=mask)
    loud = z.copy()
    loud[:, 3] = 100.0
    out, _ = value_and_gradient(layer, loud, loud)
    np.testing.assert_array_equal(out[:, 3], loud[:, 3])
    assert (out[:, :3] != loud[:, :3]).sum() == 8


def test_several_samples_select_the_same_neuron():
    layer = layer_after(normal(16, 5))
    z = normal(4, 5, seed=1)
    z[:, 3] = [30.0, -30.0, 40.0, 50.0]
    mean = numbers(layer.mean)
    out, gradient = value_and_gradient(layer, z, np.ones((4, 5)))
    np.testing.assert_array_equal(out[:, 3], np.full(4, mean[0, 3]))
    np.testing.assert_array_equal(gradient[:, 3], np.full(4, -1.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("samples", [1, 7])
@pytest.mark.parametrize("axis", [None, -1])
def test_bad_first_samples_cost_no_digits(bad, samples, axis):
    """Moments are measured from a value of the neuron: from 0, nothing is left."""
    z = (1000 + 0.01 * normal(64, 4, 3)).astype("float32")
    expected = z[samples:].std(0) if axis is None else z[samples:].std((0, 1))
    z[:samples] = bad
    layer = layer_after(z, forget_steps=None, axis=axis)
    deviation = np.sqrt(numbers(layer.variance))[0]
    np.testing.assert_allclose(deviation.squeeze(), expected, rtol=0.05)


def test_an_empty_batch_of_many_neurons():
    layer = layer_after(normal(8, 300), select=2, axis=-1)
    value_and_gradient(layer, normal(0, 300), normal(0, 300))
    assert is_finite(layer)
