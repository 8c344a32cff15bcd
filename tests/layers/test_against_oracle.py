"""The layers' numbers, step by step, against the float64 oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_mono as km
from support.oracle import Oracle
from support.small import cases_each_backend
from support.training import numbers, value_and_gradient

SHAPES_AND_AXES = [
    ((6,), None),
    ((1,), -1),
    ((4, 5), None),
    ((4, 5), -1),
    ((4, 5), 1),
    ((3, 4, 5), None),
    ((3, 4, 5), 2),
    ((3, 4, 5), (1, 3)),
    ((3, 4, 5), (-1, 1)),
    ((2, 3, 2, 4), None),
    ((2, 3, 2, 4), -1),
    ((2, 1, 2, 1), (2, 4)),
]


def neuron_axes(axis, rank):
    if axis is None:
        return tuple(range(1, rank))
    axes = [axis] if isinstance(axis, int) else axis
    return tuple(sorted(a % rank for a in axes))


def same_state(layer, oracle, rtol=2e-4):
    np.testing.assert_array_equal(numbers(layer.count), oracle.count)
    np.testing.assert_array_equal(numbers(layer.max_batch_count), oracle.largest)
    np.testing.assert_allclose(numbers(layer.mean), oracle.mean, rtol=rtol, atol=1e-5)
    np.testing.assert_allclose(
        numbers(layer.variance), oracle.variance, rtol=rtol, atol=1e-6
    )
    assert int(numbers(layer.step)) == oracle.step


def follow(shape, axis, batches, mask=None, seed=0, **options):
    """Feed the same batches to both and compare everything after each of them."""
    rng = np.random.default_rng(seed)
    options = {"start_step": 2, "forget_steps": 3, **options}
    layer = km.layers.MonosemanticInhibition(axis=axis, **options)
    select = layer.select
    options.pop("select", None)
    oracle = Oracle(neuron_axes(axis, len(shape) + 1), select.k, select.per, **options)
    inhibited = 0
    for samples in batches:
        # Heavy tails: the choice between the largest φ must not hang on rounding.
        z = rng.standard_t(3, size=(samples, *shape)).astype("float32") + 2
        upstream = rng.normal(size=z.shape).astype("float32")
        given = None if mask is None else mask(rng, z.shape)
        out, gradient = value_and_gradient(layer, z, upstream, mask=given)
        expected, expected_gradient = oracle.train(z, upstream, given)
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)
        same_state(layer, oracle)
        inhibited += int((expected != z).sum())
    return inhibited


@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_ranks_and_axes(shape, axis):
    assert follow(shape, axis, [8] * 5, select=1)


@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0, 5.0])
@pytest.mark.parametrize("include_current_batch", [False, True])
def test_strength_and_order(strength, include_current_batch):
    options = {"strength": strength, "include_current_batch": include_current_batch}
    assert follow((7,), None, [16] * 5, **options)


@pytest.mark.parametrize("select", [1, 3, km.selectors.TopK(2, per="position")])
@pytest.mark.parametrize("axis", [None, -1])
def test_selection(select, axis):
    assert follow((4, 5), axis, [8] * 4, select=select)


def test_ragged_batches_weigh_what_they_hold():
    assert follow((5,), None, [16, 16, 16, 16, 1, 16, 3, 32, 2], forget_steps=2)


@pytest.mark.parametrize("samples", [1, 63, 64, 130, 1500])
def test_batch_sizes(samples):
    assert follow((3,), None, [samples] * 3, start_step=1)


def test_never_forgetting():
    assert follow((5,), None, [4, 9, 1, 6, 8], forget_steps=None)


@pytest.mark.parametrize("compensation", [0.0, 0.01, 1.0])
def test_variance_compensation(compensation):
    assert follow((5,), None, [16] * 4, variance_compensation=compensation)


@pytest.mark.parametrize("start_step", [1, 3])
def test_late_start(start_step):
    layer = km.layers.MonosemanticInhibition(start_step=start_step)
    rng = np.random.default_rng(0)
    changed = []
    for _ in range(5):
        z = rng.normal(size=(8, 6)).astype("float32")
        out, _ = value_and_gradient(layer, z, z)
        changed.append(not np.array_equal(out, z))
    assert changed == [step >= start_step for step in range(5)]


def right_padding(rng, shape):
    return np.arange(shape[1]) < rng.integers(1, shape[1] + 1, size=(shape[0], 1))


def left_padding(rng, shape):
    return right_padding(rng, shape)[:, ::-1]


def whole_samples(rng, shape):
    return rng.random(shape[0]) < 0.6


def every_entry(rng, shape):
    return rng.random(shape) < 0.6


@pytest.mark.parametrize("axis", [None, -1])
@pytest.mark.parametrize(
    "mask", [right_padding, left_padding, whole_samples, every_entry]
)
def test_masks(axis, mask):
    assert follow((5, 3), axis, [12] * 5, mask=mask)


@pytest.mark.parametrize("axis", [None, -1])
@pytest.mark.parametrize("filler", [1e3, np.nan, np.inf, -1e30])
def test_what_stands_in_masked_entries_changes_no_bit(axis, filler):
    def run(fill):
        rng = np.random.default_rng(0)
        layer = km.layers.MonosemanticInhibition(2, axis=axis, start_step=1)
        outs = []
        for _ in range(3):
            z = rng.normal(size=(8, 5, 3)).astype("float32")
            mask = left_padding(rng, z.shape)
            if fill is not None:
                z[~mask] = fill
            out, gradient = value_and_gradient(layer, z, np.ones(z.shape), mask=mask)
            outs += [out[mask], gradient]
        return outs + [numbers(v) for v in layer.variables]

    for a, b in zip(run(None), run(filler), strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=cases_each_backend())
@given(st.lists(st.integers(0, 7), min_size=1, max_size=8), st.integers(0, 10**6))
def test_any_split_of_a_stream_equals_the_whole(sizes, seed):
    """`forget_steps=None`, in batches of any size, also empty ones."""
    rng = np.random.default_rng(seed)
    layer = km.layers.MonosemanticScale(forget_steps=None)
    layer.build((None, 3))
    stream = rng.normal(3.0, 2.0, size=(sum(sizes), 3)).astype("float32")
    for part in np.split(stream, np.cumsum(sizes)[:-1]):
        layer(part, training=True)
    whole = stream.astype("float64")
    n = len(whole)
    np.testing.assert_array_equal(numbers(layer.count), np.full((1, 3), n))
    mean = whole.mean(0, keepdims=True) if n else np.zeros((1, 3))
    variance = whole.var(0, ddof=1, keepdims=True) if n > 1 else np.zeros((1, 3))
    np.testing.assert_allclose(numbers(layer.mean), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(layer.variance), variance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("axis", "shape"), [(None, (10_000, 16)), (-1, (200, 50, 16))])
def test_a_million_values_far_from_zero(axis, shape, masked):
    """N(1000, 0.01²): φ within 2 % of what float64 says of the same values."""
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticScale(axis=axis, forget_steps=None)
    layer.build((None, *shape[1:]))
    count, total, squares = 0, 0.0, 0.0
    mask = np.ones(shape[:-1], bool)
    if masked:
        mask[:1] = False  # the first entries never count
    for _ in range(100):
        z = rng.normal(1000.0, 0.01, size=shape).astype("float32")
        layer(z, mask=mask if masked else None, training=True)
        kept = z[mask].astype("float64") - 1000
        count, total = count + len(kept), total + kept.sum(0)
        squares = squares + (kept**2).sum(0)
    mean = 1000 + total / count
    variance = (squares - total**2 / count) / (count - 1)
    probe = rng.normal(1000.0, 0.01, size=shape).astype("float32")
    expected = (probe - mean) ** 2 / (variance + 0.01 * variance.mean())
    phi = numbers(layer.score(probe))
    told = expected > 0.05  # nearer to the mean than a fifth of σ, φ is next to 0
    np.testing.assert_allclose(phi[told], expected[told], rtol=0.02)
    np.testing.assert_allclose(phi[~told], expected[~told], atol=2e-3)
