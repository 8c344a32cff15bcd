"""Layers build where sizes are unknown, in training mode and inside others' `call`."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

BACKEND = keras.config.backend()
CHANNEL = {"axis": -1, "start_step": 1}
SAMPLES, LENGTHS = (16,), (None, 16)
LAYERS = [
    (lambda: km.layers.MonosemanticScale(axis=-1), [SAMPLES, (None, None, 16)]),
    (km.layers.MonosemanticInhibition, [(5, 16)]),
    (
        lambda: km.layers.MonosemanticInhibition(3, **CHANNEL, active="always"),
        [SAMPLES, LENGTHS],
    ),
    (lambda: km.layers.MonosemanticInhibition(0.1, **CHANNEL), [SAMPLES]),
    (
        lambda: km.layers.MonosemanticInhibition(
            km.selectors.TopK(2, per="position"), **CHANNEL, include_current_batch=True
        ),
        [SAMPLES, LENGTHS],
    ),
    (km.layers.MonosemanticPenalty, [SAMPLES, LENGTHS]),
]
CASES = [(make, shape) for make, shapes in LAYERS for shape in shapes]


@keras.saving.register_keras_serializable(package="tests")
class Always(keras.layers.Layer):
    """A user's layer that trains by default."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x, training=True):
        return self.inner(x, training=training) + 0.0


@pytest.mark.support("symbolic inputs of unknown sizes with `training=True`")
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_called_on_symbolic_inputs(make, shape):
    inputs = keras.Input(shape)
    layer = make()
    assert layer(inputs, training=True).shape == (None, *shape)
    assert int(numbers(layer.step)) == 0  # nothing was seen yet
    assert Always(make())(inputs).shape == (None, *shape)


def test_with_a_mask_or_at_inference():
    inputs, mask = keras.Input((None, 16)), keras.Input((None,), dtype="bool")
    layer = km.layers.MonosemanticInhibition(3, **CHANNEL, active="always")
    assert layer(inputs, mask=mask, training=True).shape == (None, None, 16)
    assert layer(inputs).shape == (None, None, 16)


def test_what_was_built_so_trains():
    """With sizes that differ from batch to batch."""
    inputs = keras.Input((None, 8))
    inside = km.layers.MonosemanticInhibition(3, **CHANNEL, active="always")
    penalty = km.layers.MonosemanticPenalty(start_step=1)
    x = Always(inside)(inputs)
    x = penalty(x, training=True)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    for size, length in ((4, 3), (3, 5), (2, 4)):
        z = rng.normal(size=(size, length, 8)).astype("float32")
        model.train_on_batch(z, z[..., :1])
    assert int(numbers(inside.step)) == int(numbers(penalty.step)) == 3
    assert numbers(inside.count).max() == 12 + 15 + 8


def test_a_recurrent_layer():
    x = keras.Input((None, 8))
    inhibition = km.layers.MonosemanticInhibition(3, start_step=1)
    layer = km.layers.InhibitedRNN(keras.layers.GRUCell(6), inhibition)
    assert layer(x, training=True).shape == (None, 6)


@pytest.mark.parametrize("active", ["training", "always"])
def test_inserted_where_lengths_are_unknown(active):
    inputs = keras.Input((None, 8))
    outputs = keras.layers.Dense(16, name="hidden")(inputs)
    layer = km.layers.MonosemanticInhibition(3, axis=-1, active=active)
    big = km.insert_after(keras.Model(inputs, outputs), "hidden", layer)
    assert big.output.shape == (None, None, 16)
    assert big.predict(np.ones((2, 4, 8), "float32"), verbose=0).shape == (2, 4, 16)


@pytest.mark.skipif(BACKEND != "jax", reason="`jax.export` is JAX's")
@pytest.mark.parametrize("select", [1, 3, 0.1])
def test_a_training_step_exported_for_any_sizes(select):
    """Exported, it does what the layer does, for a batch of another size."""
    import jax
    from jax import export

    z = np.random.default_rng(0).normal(size=(7, 3, 16)).astype("float32")
    layer = km.layers.MonosemanticInhibition(select, **CHANNEL)
    for _ in range(2):
        layer(z, training=True)

    def step(state, z):
        return layer.stateless_call([], state, z, training=True)

    state = [v.value for v in layer.non_trainable_variables]
    shape = jax.ShapeDtypeStruct(export.symbolic_shape("b, t, 16"), "float32")
    exported = export.export(jax.jit(step))(state, shape)
    for given in (exported.call(state, z[:5, :2]), step(state, z[:5, :2])):
        np.testing.assert_allclose(given[1][0], step(state, z[:5, :2])[1][0], rtol=1e-5)
        np.testing.assert_allclose(given[0], step(state, z[:5, :2])[0], rtol=1e-5)
