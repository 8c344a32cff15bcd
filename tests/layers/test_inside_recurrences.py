"""A layer inside a recurrence is refused, whatever it was called for before."""

from functools import partial

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

KINDS = [
    km.layers.MonosemanticScale,
    km.layers.MonosemanticInhibition,
    km.layers.MonosemanticPenalty,
]


def call(layer, z, training):
    return layer(z, training=training)


def update_statistics(layer, z, training):  # noqa: ARG001
    layer.update_statistics(z)
    return z


def penalize(layer, z, training):  # noqa: ARG001
    return layer.penalize(z) * 0.0 + z


class Cell(keras.layers.Layer):
    def __init__(self, inner, way):
        super().__init__()
        self.state_size = 4
        self.inner, self.way = [inner], way  # not tracked: it is built before

    def call(self, x, states, training=None):
        z = self.way(self.inner[0], x + states[0], training)
        return z, [z]


def sequences():
    return np.random.default_rng(0).normal(size=(3, 8, 4)).astype("float32")


def called_before(kind, training):
    layer = kind(axis=-1)
    layer(sequences()[:, 0], training=training)
    return layer


def assert_refused(layer, way, **options):
    steps = int(numbers(layer.step))
    recurrent = keras.layers.RNN(Cell(layer, way), **options)
    with pytest.raises(ValueError, match=r"inside the recurrence of.*InhibitedRNN"):
        recurrent(sequences(), training=True)
    assert int(numbers(layer.step)) == steps


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_was_called_outside_before(kind, training):
    assert_refused(called_before(kind, training), call)
    assert_refused(called_before(kind, training), call, unroll=True)


@pytest.mark.parametrize("kind", KINDS)
def test_learning_without_a_call(kind):
    assert_refused(called_before(kind, True), update_statistics)


def test_a_penalty_without_a_call():
    kind = partial(km.layers.MonosemanticPenalty, form="phi")
    assert_refused(called_before(kind, True), penalize)


class Outer(keras.layers.Layer):
    """A cell that runs a recurrence of its own."""

    def __init__(self, inner):
        super().__init__()
        self.state_size = 4
        self.inner = inner

    def build(self, shape):
        self.inner.build((shape[0], 2, shape[1]))

    def call(self, x, states, training=None):
        pair = keras.ops.stack([x, states[0]], axis=1)
        z = self.inner(pair, training=training)
        return z, [z]


def test_a_recurrence_inside_a_recurrence():
    """What is learned after the inner loop is still inside the outer one."""
    inner = km.layers.InhibitedRNN(
        keras.layers.GRUCell(4), km.layers.MonosemanticInhibition()
    )
    with pytest.raises(ValueError, match=r"inside the recurrence of 'outer'"):
        keras.layers.RNN(Outer(inner), name="outer")(sequences(), training=True)


def test_outside_again_it_works():
    layer = called_before(km.layers.MonosemanticInhibition, True)
    assert_refused(layer, call)
    layer(sequences()[:, 1], training=True)
    assert int(numbers(layer.step)) == 2
