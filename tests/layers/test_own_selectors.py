"""Selectors of a user's own: what a layer hands to them and refuses from them."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers


class OfChannels(km.selectors.Selector):
    """Marks channels: a shape that only broadcasts."""

    def __call__(self, phi, channel_axis=-1, state=None):  # noqa: ARG002
        return keras.ops.max(phi, axis=0, keepdims=True) > 1.0


class OfFullBatches(km.selectors.Selector):
    """Counts only batches in which something counts."""

    state_names = ("num_batches",)

    def __init__(self):
        self.told = []

    def __call__(self, phi, channel_axis=-1, state=None):  # noqa: ARG002
        return phi > 4.0

    def update(self, phi, counted, state, channel_axis=-1, num_batches=None):
        self.told.append(num_batches)
        some = keras.ops.cast(keras.ops.convert_to_tensor(counted) > 0, "float32")
        return self(phi, channel_axis, state), state + some


@pytest.mark.parametrize(
    "layer", [km.layers.MonosemanticInhibition, km.layers.MonosemanticPenalty]
)
def test_marks_that_only_broadcast_are_refused(layer):
    layer = layer(select=OfChannels(), start_step=1, axis=-1)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    layer.build(x.shape)
    expected = r"`OfChannels` in '.*' must mark the shape of `phi`, \(8, 3\)"
    with pytest.raises(ValueError, match=expected + r".*\(1, 3\).*broadcast_to"):
        layer(x, training=True)
    assert int(layer.step) == 0
    with pytest.raises(ValueError, match=expected):
        layer.selected(x)


@pytest.mark.parametrize(
    "marks", [lambda phi: keras.ops.cast(phi > 1.0, "int32"), lambda phi: [phi > 1.0]]
)
def test_marks_that_are_no_booleans_are_refused(marks):
    class Marks(km.selectors.Selector):
        def __call__(self, phi, channel_axis=-1, state=None):  # noqa: ARG002
            return marks(phi)

    layer = km.layers.MonosemanticPenalty(1.0, Marks(), start_step=1, form="l2e")
    with pytest.raises(ValueError, match=r"`Marks` in '.*' must mark with a boolean"):
        layer(np.ones((8, 3), "float32"), training=True)


def test_a_selector_may_leave_empty_batches_out_of_its_number():
    select = OfFullBatches()
    layer = km.layers.MonosemanticInhibition(select, start_step=1, axis=-1)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    for some in (True, True, False, True):
        layer(x, mask=np.full(8, some), training=True)
    assert layer.selector_state["num_batches"] == 2.0
    assert select.told == [None] * len(select.told)


@pytest.mark.parametrize("select", [1, 0.2])
def test_a_pure_function_keeps_the_statistics_that_it_was_made_with(select):
    x = np.random.default_rng(0).normal(size=(4, 40, 3)).astype("float32")
    layer = km.layers.MonosemanticInhibition(select, start_step=1, axis=-1)
    for batch in x[:2]:
        layer(batch, training=True)
    inhibit = layer.as_pure_function()
    z = keras.ops.convert_to_tensor(x[0])
    before = numbers(inhibit(z))
    assert (before != x[0]).any()
    for batch in x[2:]:
        layer(batch + 5.0, training=True)
    np.testing.assert_array_equal(numbers(inhibit(z)), before)
