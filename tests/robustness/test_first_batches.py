"""Statistics of a neuron's first batch against float64, whatever stands in it.

A neuron without a history has no mean to measure from, and float32 loses the digits of
a variance that is measured from far away.
"""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

BACKEND = keras.config.backend()
WAYS = ["eager", "compiled"] + (["XLA"] if BACKEND == "tensorflow" else [])


def sink_in_every_sample(rng):
    z = rng.normal(0.0, 0.5, (16, 128, 6))
    z[:, 0, ::2] += 2000.0
    return z, None


def sink_in_one_sample(rng):
    z = rng.normal(0.0, 0.5, (16, 128, 6))
    z[0, 0, ::2] += 2000.0
    return z, None


def masked_heavy_tails(rng):
    return rng.standard_t(2, (16, 256, 6)), rng.random((16, 256)) < 0.7


def first_of_many(rng):
    z = rng.normal(size=(1_000_000, 2))
    z[0] = 1e4
    return z, None


def far_from_zero(rng):
    return rng.normal(1000.0, 0.01, (300_000, 2)), None


def far_from_zero_masked(rng):
    z, mask = rng.normal(1000.0, 0.01, (16, 128, 6)), rng.random((16, 128)) < 0.7
    z[~mask] = 1e10
    return z, mask


def zero_and_nan_before_the_rest(rng):
    z = rng.normal(1000.0, 0.01, (5000, 3))
    z[0], z[1] = np.nan, 0.0
    return z, None


STREAMS = [
    sink_in_every_sample,
    sink_in_one_sample,
    masked_heavy_tails,
    first_of_many,
    far_from_zero,
    far_from_zero_masked,
    zero_and_nan_before_the_rest,
]


def train(layer, batches, way):
    """One training call for each batch, eager or compiled."""
    if way == "eager":
        for z, mask in batches:
            layer(z, training=True, mask=mask)
    elif BACKEND == "jax":
        import jax

        def call(state, z, mask):
            return layer.stateless_call([], state, z, training=True, mask=mask)[1]

        state, call = [v.value for v in layer.non_trainable_variables], jax.jit(call)
        for z, mask in batches:
            state = call(state, z, mask)
        for variable, value in zip(layer.non_trainable_variables, state, strict=True):
            variable.assign(value)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=way == "XLA", autograph=False, reduce_retracing=True)
        def call(z, mask):
            return layer(z, training=True, mask=mask)

        for z, mask in batches:
            call(tf.constant(z), None if mask is None else tf.constant(mask))
    else:
        import torch

        # Without the compiler proper, which takes seconds: the layer takes the same
        # way as on a GPU, where it reads no number.
        call = torch.compile(
            lambda z, mask: layer.call(z, training=True, mask=mask), backend="eager"
        )
        tensor = keras.ops.convert_to_tensor
        for z, mask in batches:
            call(tensor(z), None if mask is None else tensor(mask))


def moments(batches):
    """Mean and unbiased variance of each neuron, in float64."""
    values = []
    for z, mask in batches:
        z = z.astype("float64")
        if mask is not None:
            z = np.where(mask[..., None], z, np.nan)
        values.append(z.reshape(-1, z.shape[-1]))
    values = np.concatenate(values)
    return np.nanmean(values, 0), np.nanvar(values, 0, ddof=1)


def expect(layer, batches):
    mean, variance = moments(batches)
    got = numbers(layer.mean).astype("float64") + numbers(layer.mean_compensation)
    assert (np.abs(got.ravel() - mean) < 3e-5 * np.sqrt(variance)).all()
    np.testing.assert_allclose(numbers(layer.variance).ravel(), variance, rtol=2e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", STREAMS)
def test_moments_of_the_first_batch(stream, way):
    z, mask = stream(np.random.default_rng(0))
    layer = km.layers.MonosemanticScale(axis=-1, forget_steps=None)
    layer.build((None, *z.shape[1:]))
    batches = [(z.astype("float32"), mask)]
    train(layer, batches, way)
    expect(layer, batches)


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_after_one_that_was_masked(way):
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticScale(axis=-1, forget_steps=None)
    layer.build((None, 128, 6))
    z, mask = far_from_zero_masked(rng)
    batches = [(z.astype("float32"), m) for m in (np.zeros_like(mask), mask)]
    train(layer, batches, way)
    expect(layer, batches[1:])


@pytest.mark.parametrize("way", WAYS)
def test_a_large_batch_after_a_single_outlier(way):
    """A history of one value is no better to measure from than none."""
    rng = np.random.default_rng(0)
    first = np.full((1, 4), 2000.0, "float32")
    rest = rng.normal(0.0, 0.5, (40_000, 4)).astype("float32")
    layer = km.layers.MonosemanticScale(axis=-1, forget_steps=None)
    layer.build((None, 4))
    batches = [(first, None), (rest, None)]
    train(layer, batches, way)
    expect(layer, batches)


@pytest.mark.parametrize("way", WAYS)
def test_neurons_that_begin_later(way):
    """Positions that only long samples have, and an outlier at their beginning."""
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticScale(forget_steps=None)
    layer.build((None, 6))
    batches = []
    for seen in (2, 4, 6):
        z = rng.normal(100.0, 0.1, (2000, 6)).astype("float32")
        z[0] = -3000.0
        batches.append((z, np.tile(np.arange(6) < seen, (2000, 1))))
    train(layer, batches, way)
    for i in range(6):
        z = np.concatenate([z[:, i] for z, mask in batches if mask[0, i]])
        z = z.astype("float64")
        got = numbers(layer.mean)[0, i].astype("float64")
        got += numbers(layer.mean_compensation)[0, i]
        assert abs(got - z.mean()) < 1e-5 * z.std()
        assert numbers(layer.variance)[0, i] == pytest.approx(z.var(ddof=1), rel=2e-4)
    np.testing.assert_array_equal(
        numbers(layer.count)[0], [6000, 6000, 4000, 4000, 2000, 2000]
    )


@pytest.mark.parametrize("way", WAYS)
def test_activations_that_a_large_mean_rounds_away(way):
    """φ is taken from the mean with all its digits, not from its float32."""
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticScale(axis=-1, variance_compensation=0.0)
    layer.build((None, 5))
    z = rng.normal(1000.0, 0.0003, (4000, 5)).astype("float32")
    train(layer, [(z, None)], way)
    mean, variance = moments([(z, None)])
    expected = (z - mean) ** 2 / variance
    phi = numbers(layer.score(z))
    np.testing.assert_allclose(phi, expected, rtol=1e-3, atol=1e-3)
    assert phi.mean() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_a_penalty_where_a_large_mean_rounds_away(way):
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticPenalty(
        1.0, km.selectors.TopK(5), start_step=1, form="l2e"
    )
    layer.build((None, 5))
    first, second = rng.normal(1000.0, 0.0003, (2, 4000, 5)).astype("float32")
    train(layer, [(first, None), (second, None)], way)
    mean, _ = moments([(first, None)])
    expected = np.log((second.astype("float64") - mean) ** 2).mean()
    assert layer.penalty == pytest.approx(expected, rel=1e-4)
