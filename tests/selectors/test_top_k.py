import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from support.oracle import Oracle


def selected(phi, k, per="sample", channel_axis=-1):
    return keras.ops.convert_to_numpy(km.selectors.TopK(k, per)(phi, channel_axis))


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 3) | st.integers(1, 20),
    st.sampled_from(["sample", "position"]),
    st.integers(0, 10**6),
    st.data(),
)
def test_equals_the_oracle_with_ties_and_zeros(lengths, k, per, seed, data):
    shape = (3, *lengths)
    axis = data.draw(st.integers(1, len(shape) - 1))
    phi = np.random.default_rng(seed).integers(0, 4, size=shape).astype("float32")
    expected = Oracle((axis,), k, per).select(phi)
    np.testing.assert_array_equal(selected(phi, k, per, axis), expected)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_per_position_ranks_the_channel_axis(k, axis):
    phi = np.random.default_rng(0).random((2, 3, 4, 5)).astype("float32")
    rank = np.argsort(np.argsort(-phi, axis=axis), axis=axis)
    np.testing.assert_array_equal(selected(phi, k, "position", axis), rank < k)


def test_all_ties_are_taken_and_zero_never():
    phi = np.array([[3.0, 3.0, 1.0, 3.0], [0.0, 0.0, 2.0, 0.0]], "float32")
    expected = [[True, True, False, True], [False, False, True, False]]
    for k in (1, 2, 3):
        assert selected(phi, k).tolist() == expected


def test_k_is_clipped_to_a_layer_of_unknown_size():
    assert selected(np.ones((2, 3), "float32"), 10).all()


@pytest.mark.parametrize("k", [0, -1, 1.5, "1", None, True])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises(ValueError, match=r"`k` must be a positive.*Received: k="):
        km.selectors.TopK(k)


def test_per_must_be_known():
    with pytest.raises(ValueError, match=r"'sample' or 'position'.*per='batch'"):
        km.selectors.TopK(1, per="batch")


@pytest.mark.parametrize(
    "select", [0, -2, True, 0.0, 1.0, -0.1, math.nan, "top", None, [1]]
)
def test_select_must_name_a_selector(select):
    with pytest.raises(ValueError, match=r"positive integer.*Received"):
        km.layers.MonosemanticInhibition(select=select)


def test_serialization():
    again = km.selectors.get(
        keras.saving.serialize_keras_object(km.selectors.TopK(4, per="position"))
    )
    assert (again.k, again.per) == (4, "position")
    assert km.selectors.get(np.int64(3)).k == 3
