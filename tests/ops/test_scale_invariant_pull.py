"""The scale-invariant penalty's gradient, relative to the loss's own."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from support.small import Calls
from support.training import value_and_gradient

SHAPE = (6, 5, 3)
WEIGHT = 0.3


def value_and_pull(z, selected, upstream, dtype=None, weight=WEIGHT, **options):
    def pull(z):
        if dtype is not None:
            z = keras.ops.cast(z, dtype)
        return km.ops.scale_invariant_pull(z, selected, weight, **options)

    return value_and_gradient(Calls(pull), z, upstream)


def closed_form(z, selected, upstream, valid, weight=WEIGHT):
    """What is added, in float64, neuron by neuron."""
    z, g = z.astype("float64"), upstream.astype("float64")
    added, of_g, of_p = np.zeros(z.shape), 0.0, 0.0
    for j in range(z.shape[-1]):
        here = valid[..., j]
        x = z[..., j][here]
        if not (here.any() and np.ptp(x) > 0):
            continue
        d, s = x - x.mean(), x.std()
        e = np.where(selected[..., j][here], d, 0.0)
        of_g += ((s * g[..., j][here]) ** 2).sum()
        pull = e - e.mean() - d * (e * d).mean() / s**2
        added[..., j][here] = pull / s**2
        of_p += ((pull / s) ** 2).sum()
    return weight * np.sqrt(of_g / of_p) * added if of_p else added


def batch(seed, share=0.3):
    rng = np.random.default_rng(seed)
    z = rng.standard_t(3, size=SHAPE).astype("float32") * [0.2, 1.0, 5.0] + 1.0
    z = z.astype("float32")
    upstream = rng.normal(size=SHAPE).astype("float32")
    return z, rng.random(SHAPE) < share, upstream, rng.random(SHAPE) < 0.8


def added(z, selected, upstream, **options):
    value, pull = value_and_pull(z, selected, upstream, **options)
    np.testing.assert_array_equal(value, z)
    return (pull - upstream).astype("float64")


def close(found, expected):
    np.testing.assert_allclose(
        found, expected, rtol=1e-3, atol=2e-5 * np.abs(expected).max()
    )


@given(st.integers(0, 10**6), st.sampled_from([WEIGHT, 3.0, -0.5]), st.booleans())
def test_equals_the_closed_form(seed, weight, masked):
    z, selected, upstream, valid = batch(seed)
    mask = valid if masked else None
    valid = valid if masked else np.ones(SHAPE, bool)
    found = added(z, selected, upstream, weight=weight, mask=mask)
    close(found, closed_form(z, selected, upstream, valid, weight))


def test_its_direction_is_that_of_the_penalty():
    z, selected, upstream, valid = batch(0)
    found = added(z, selected, upstream, mask=valid)
    penalty = Calls(
        lambda z: km.ops.scale_invariant_penalty(z, selected, mask=valid)[None]
    )
    _, slope = value_and_gradient(penalty, z, np.ones(1))
    ratio = found / np.where(slope == 0.0, np.nan, slope)
    assert np.nanmin(ratio) > 0.0
    np.testing.assert_allclose(ratio[valid], np.nanmean(ratio), rtol=1e-2)
    np.testing.assert_array_equal(found[~valid], 0.0)


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e6]))
def test_its_length_is_the_weight_times_that_of_the_gradient(seed, size):
    z, selected, upstream, _ = batch(seed)
    upstream = upstream * np.float32(size)
    found = added(z, selected, upstream, weight=7.0)
    deviation = z.reshape(-1, 3).astype("float64").std(axis=0)
    lengths = [np.linalg.norm(x * deviation) for x in (found, upstream)]
    assert lengths[0] == pytest.approx(7.0 * lengths[1], rel=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([1e-15, 1.0, 1e15]))
def test_it_has_no_part_along_shift_and_scale(seed, scale):
    z, selected, upstream, _ = batch(seed)
    z = z * np.float32(scale)
    found = added(z, selected, upstream).reshape(-1, 3)
    deviations = z.astype("float64").reshape(-1, 3) / scale
    deviations = deviations - deviations.mean(axis=0)
    rounding = np.abs(upstream).max() * 1e-6 * len(found)
    size = np.abs(found).sum(axis=0)
    assert (np.abs(found.sum(axis=0)) < 1e-5 * size + rounding).all()
    along = np.abs((found * deviations).sum(axis=0))
    largest = np.abs(deviations).max(axis=0)
    assert (along < (1e-5 * size + rounding) * largest).all()
    assert np.abs(found).max() > 0.01


@given(st.integers(0, 10**6))
def test_units_and_zeros_of_neurons_do_not_matter(seed):
    """A neuron in another unit has its gradient, and what is added, in that unit."""
    z, selected, upstream, _ = batch(seed)
    unit = np.array([4.0, 0.125, 1.0], "float32")
    shift = np.array([-3.0, 1.0, 0.5], "float32")
    found = added(z, selected, upstream)
    other = added(z * unit + shift, selected, upstream / unit)
    close(other * unit, found)


def test_it_follows_the_unit_of_the_loss():
    z, selected, upstream, _ = batch(0)
    found = added(z, selected, upstream)
    close(added(z, selected, 1024 * upstream), 1024 * found)
    np.testing.assert_array_equal(added(z, selected, 0 * upstream), 0.0)


def test_a_step_lowers_phi():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 1)).astype("float32")
    z[3] = 6.0
    found = added(z, z > 5.0, rng.normal(size=(64, 1)))
    phi = [(x[3] - x.mean()) ** 2 / x.var() for x in (z, z - 0.1 * found)]
    assert phi[1] < phi[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    z, selected, upstream, valid = batch(0)
    z = z.astype("float16").astype("float32")
    _, pull = value_and_pull(z, selected, upstream, dtype=dtype, mask=valid)
    expected = upstream + closed_form(z, selected, upstream, valid)
    np.testing.assert_allclose(pull.astype("float32"), expected, rtol=0.05, atol=0.05)


def test_a_constant_neuron_gets_the_gradient_unchanged():
    z, selected, upstream, _ = batch(0)
    z[..., 1] = 7.0
    found = added(z, selected, upstream)
    np.testing.assert_array_equal(found[..., 1], 0.0)
    close(found, closed_form(z, selected, upstream, np.ones(SHAPE, bool)))


def test_entries_that_are_not_finite_do_not_count():
    z, selected, upstream, _ = batch(0)
    z[0, 0, 0], z[1, 1, 1] = np.nan, np.inf
    selected[0, 0, 0] = selected[1, 1, 1] = True
    expected = closed_form(z, selected, upstream, np.isfinite(z))
    # Nor does the gradient there.
    upstream[0, 0, 0], upstream[1, 1, 1] = np.nan, np.inf
    _, pull = value_and_pull(z, selected, upstream)
    kept = np.isfinite(z)
    close(pull[kept] - upstream[kept], expected[kept])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_left_alone(value):
    """A loss scale then skips the step."""
    z, selected, upstream, _ = batch(0)
    upstream[2, 2, 2] = value
    _, pull = value_and_pull(z, selected, upstream)
    np.testing.assert_array_equal(pull, upstream)


def test_nothing_selected_changes_nothing():
    z, _, upstream, _ = batch(0)
    np.testing.assert_array_equal(added(z, np.zeros(SHAPE, bool), upstream), 0.0)


def test_rounding_is_no_direction():
    """Of neurons with two values scale and shift say everything."""
    rng = np.random.default_rng(0)
    z = (rng.random((7, 40)) < 0.3).astype("float32") + 0.1
    upstream = rng.normal(size=z.shape).astype("float32")
    found = added(z, z > 0.5, upstream, weight=1e3)
    np.testing.assert_array_equal(found, 0.0)


def test_another_shape_of_selected_is_an_error():
    with pytest.raises(ValueError, match="selected"):
        km.ops.scale_invariant_pull(
            np.zeros((3, 2), "float32"), np.zeros((2, 3), bool), 0.1
        )
