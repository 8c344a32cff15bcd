"""The gradient of the scale-invariant form of reversed deactivation."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from support.small import Calls
from support.training import value_and_gradient

SHAPE = (6, 5, 3)
MEAN = np.array([0.3, -0.2, 0.1], "float32")


def value_and_pull(z, selected, upstream, mean=MEAN, dtype=None, **options):
    def deactivate(z):
        if dtype is not None:
            z = keras.ops.cast(z, dtype)
        return km.ops.scale_invariant_deactivate(z, selected, mean, **options)

    return value_and_gradient(Calls(deactivate), z, upstream)


def closed_form(z, selected, upstream, valid, strength=1.0, mean=MEAN):
    """g + P(c) in float64, neuron by neuron."""
    z, g = z.astype("float64"), upstream.astype("float64")
    chosen = selected & valid
    change = np.where(chosen, strength * np.abs(g) * np.sign(z - mean) - g, 0.0)
    found = g.copy()
    for j in range(z.shape[-1]):
        here = valid[..., j]
        d = z[..., j][here] - z[..., j][here].mean() if here.any() else np.zeros(0)
        if not (d**2).sum() > 0:
            continue
        c = change[..., j][here]
        c = c - c.mean() - d * (c * d).sum() / (d**2).sum()
        found[..., j][here] += c
    return found


def batch(seed, share=0.3):
    rng = np.random.default_rng(seed)
    z = rng.standard_t(3, size=SHAPE).astype("float32")
    upstream = rng.normal(size=SHAPE).astype("float32")
    return z, rng.random(SHAPE) < share, upstream, rng.random(SHAPE) < 0.8


@given(st.integers(0, 10**6), st.sampled_from([1.0, 5.0, 0.0, -2.0]), st.booleans())
def test_equals_the_closed_form(seed, strength, masked):
    z, selected, upstream, valid = batch(seed)
    mask = valid if masked else None
    valid = valid if masked else np.ones(SHAPE, bool)
    value, pull = value_and_pull(z, selected, upstream, strength=strength, mask=mask)
    expected = np.where(selected & valid, MEAN, z)
    np.testing.assert_array_equal(value, expected)
    expected = closed_form(z, selected, upstream, valid, strength)
    np.testing.assert_allclose(pull, expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([1e-15, 1.0, 1e15]))
def test_what_it_changes_has_no_part_along_shift_and_scale(seed, scale):
    z, selected, upstream, _ = batch(seed)
    z = z * np.float32(scale)
    _, pull = value_and_pull(z, selected, upstream, mean=MEAN * np.float32(scale))
    change = (pull - upstream).astype("float64").reshape(-1, SHAPE[-1])
    deviations = z.reshape(-1, SHAPE[-1]) / scale
    deviations = deviations - deviations.mean(axis=0)
    size = np.abs(change).sum(axis=0) + 1e-9
    assert (np.abs(change.sum(axis=0)) < 1e-5 * size).all()
    along = np.abs((change * deviations).sum(axis=0))
    assert (along < 1e-5 * size * np.abs(deviations).max(axis=0)).all()
    assert np.abs(change).max() > 0.1


@pytest.mark.parametrize("upstream", [1.0, -1.0])
def test_a_step_moves_the_selected_towards_the_mean_whatever_the_loss_wants(upstream):
    z = np.random.default_rng(0).normal(size=(64, 1)).astype("float32")
    z[3] = 6.0
    selected = z > 5.0
    g = np.float32(upstream) * selected
    _, pull = value_and_pull(z, selected, g, mean=0.0)
    after = z - 0.1 * pull
    assert after[3] < z[3]
    phi = [(x[3] - x.mean()) ** 2 / x.var() for x in (z, after)]
    assert phi[1] < phi[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    z, selected, upstream, _ = batch(0)
    _, pull = value_and_pull(z, selected, upstream, dtype=dtype)
    expected = closed_form(z, selected, upstream, np.ones(SHAPE, bool))
    assert np.isfinite(pull.astype("float32")).all()
    np.testing.assert_allclose(pull.astype("float32"), expected, rtol=0.05, atol=0.05)


def test_a_constant_neuron_gets_the_gradient_unchanged():
    z, selected, upstream, _ = batch(0)
    z[..., 1] = 7.0
    value, pull = value_and_pull(z, selected, upstream)
    np.testing.assert_array_equal(pull[..., 1], upstream[..., 1])
    assert (pull[..., 0] != upstream[..., 0]).any()
    np.testing.assert_array_equal(value, np.where(selected, MEAN, z))


def test_entries_that_are_not_finite_pass_through():
    z, selected, upstream, _ = batch(0)
    z[0, 0, 0], z[1, 1, 1] = np.nan, np.inf
    selected[0, 0, 0] = selected[1, 1, 1] = True
    value, pull = value_and_pull(z, selected, upstream)
    assert np.isnan(value[0, 0, 0])
    assert value[1, 1, 1] == np.inf
    expected = closed_form(z, selected, upstream, np.isfinite(z))
    np.testing.assert_allclose(pull, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_where_nothing_is_selected_stays_where_it_is(bad):
    z, selected, upstream, _ = batch(0)
    _, expected = value_and_pull(z, selected & (z != z[0, 0, 0]), upstream)
    selected[0, 0, 0], upstream[0, 0, 0] = False, bad
    _, pull = value_and_pull(z, selected, upstream)
    assert not np.isfinite(pull[0, 0, 0])
    pull[0, 0, 0] = expected[0, 0, 0]
    np.testing.assert_array_equal(pull, expected)


def test_nothing_selected_changes_nothing():
    z, _, upstream, _ = batch(0)
    value, pull = value_and_pull(z, np.zeros(SHAPE, bool), upstream)
    np.testing.assert_array_equal(value, z)
    np.testing.assert_array_equal(pull, upstream)


def test_another_shape_of_selected_is_an_error():
    with pytest.raises(ValueError, match="selected"):
        km.ops.scale_invariant_deactivate(
            np.zeros((3, 2), "float32"), np.zeros((2, 3), bool), 0.0
        )
