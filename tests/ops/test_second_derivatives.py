"""Gradients of gradients, against differences of the gradient in float64."""

import keras
import numpy as np
import pytest

import keras_mono as km

rng = np.random.default_rng(0)
Z = rng.normal(size=(4, 5)).astype("float32")
SELECTED = rng.random((4, 5)) < 0.5
MEAN = rng.normal(size=(1, 5)).astype("float32")
DIRECTION = rng.normal(size=(4, 5)).astype("float32")


def gradient_of_slope(function, z):
    """The gradient of the first derivative of `function` along DIRECTION."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        def slope(z):
            return (jax.grad(function)(z) * DIRECTION).sum()

        return np.array(jax.grad(slope)(z))
    if backend == "tensorflow":
        import tensorflow as tf

        z = tf.constant(z)
        with tf.GradientTape() as outer:
            outer.watch(z)
            with tf.GradientTape() as inner:
                inner.watch(z)
                value = function(z)
            slope = tf.reduce_sum(inner.gradient(value, z) * DIRECTION)
        return outer.gradient(slope, z).numpy()
    import torch

    z = torch.tensor(z, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(z), z, create_graph=True)
    return torch.autograd.grad((gradient * torch.tensor(DIRECTION)).sum(), z)[0].numpy()


@pytest.mark.parametrize("power", [1, 2])
def test_penalty(power):
    def penalty(z):
        return km.ops.monosemantic_penalty(z, SELECTED, MEAN) ** power

    z = Z.astype("float64")
    deviation, number = z - MEAN, SELECTED.sum()
    value = np.log(deviation[SELECTED] ** 2).mean()
    pull = np.where(SELECTED, 2 / (deviation * number), 0.0)
    second = np.where(SELECTED, -2 / (deviation**2 * number), 0.0) * DIRECTION
    if power == 2:
        second = 2 * value * second + 2 * pull * (pull * DIRECTION).sum()
    np.testing.assert_allclose(gradient_of_slope(penalty, Z), second, rtol=2e-4)


def test_penalty_of_an_activation_at_its_mean():
    z = Z.copy()
    z[0] = MEAN[0]

    def penalty(z):
        return km.ops.monosemantic_penalty(z, SELECTED, MEAN)

    second = gradient_of_slope(penalty, z)
    assert np.isfinite(second).all()
    np.testing.assert_array_equal(second[0], 0.0)


def test_scale_invariant_penalty():
    def penalty(z):
        return km.ops.scale_invariant_penalty(z, SELECTED)

    def slope(z):
        """Of the gradient, as it is derived on paper, along DIRECTION."""
        deviation, variance = z - z.mean(axis=0), z.var(axis=0)
        chosen = np.where(SELECTED, deviation, 0.0)
        scale = (chosen**2).mean(axis=0) / variance
        gradient = chosen - chosen.mean(axis=0) - scale * deviation
        return (2 / variance * gradient * DIRECTION).sum() / SELECTED.sum()

    second, z = np.zeros(Z.shape), Z.astype("float64")
    for index in np.ndindex(*Z.shape):
        step = np.zeros(Z.shape)
        step[index] = 1e-6
        second[index] = (slope(z + step) - slope(z - step)) / 2e-6
    np.testing.assert_allclose(gradient_of_slope(penalty, Z), second, rtol=2e-4)


@pytest.mark.parametrize("strength", [1.0, 5.0])
def test_deactivation(strength):
    """Cubes of what comes out, which has the slope -strength where selected."""

    def cubes(z):
        out = km.ops.deactivate(z, SELECTED, MEAN, strength)
        return keras.ops.sum(out**3)

    out = np.where(SELECTED, np.broadcast_to(MEAN, Z.shape), Z).astype("float64")
    slope = np.where(SELECTED, -strength, 1.0)
    expected = 6 * out * slope**2 * DIRECTION
    np.testing.assert_allclose(gradient_of_slope(cubes, Z), expected, rtol=1e-4)


def test_a_layers_penalty_in_a_gradient_penalty():
    """As where a loss holds the gradient of the model."""
    layer = km.layers.MonosemanticPenalty(
        1.0, km.selectors.TopK(5), start_step=1, form="l2e"
    )
    layer(Z, training=True)
    mean = keras.ops.convert_to_numpy(layer.mean).astype("float64")
    state = [v.value for v in layer.non_trainable_variables]

    def penalty(z):
        if keras.backend.backend() == "jax":
            call = layer.stateless_call
            return call([], state, z, training=True, return_losses=True)[2][0]
        return layer.penalize(z)

    second = gradient_of_slope(penalty, Z + 1.0)
    deviation = Z + 1.0 - mean
    expected = -2 / (deviation**2 * Z.size) * DIRECTION
    np.testing.assert_allclose(second, expected, rtol=2e-3)
