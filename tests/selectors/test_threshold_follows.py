"""The moving threshold keeps to its fraction on long streams, and after a change."""

import itertools

import keras
import numpy as np
import pytest

import keras_mono as km
from support import streams
from support.compiled import compiled
from support.training import numbers

FRACTIONS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
SHAPES = ["normal", "student_t3", "exponential", "relu_sparse", "heavy_duplicates"]


def thresholds(batches, fraction):
    """τ after each batch."""
    selector = km.selectors.MovingThreshold(fraction)
    counted = keras.ops.convert_to_tensor(np.float32(batches[0].size))
    step = compiled(lambda phi, state: selector.update(phi, counted, state)[1])
    state = keras.ops.zeros(len(selector.state_names))
    found = []
    for phi in batches:
        state = step(keras.ops.convert_to_tensor(phi), state)
        found.append(numbers(state)[0])
    return np.array(found)


def share_of_steps_off(found, fresh, fraction):
    """How often over 1.1 f of fresh values exceed τ, or less than 0.9 f reach it."""
    above = 1 - np.searchsorted(fresh, found, "right") / fresh.size
    reaching = 1 - np.searchsorted(fresh, found, "left") / fresh.size
    return np.mean((above > 1.1 * fraction) | (reaching < 0.9 * fraction))


@pytest.fixture(scope="module", params=SHAPES)
def stream(request):
    name = request.param
    return streams.drawn(name, 11, 1200, 10**4), sorted_fresh(name)


def sorted_fresh(name):
    return np.sort(streams.drawn(name, 12, 10**6))


@pytest.mark.one_backend
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_holds_the_fraction(stream, fraction):
    batches, fresh = stream
    found = thresholds(batches, fraction)
    assert share_of_steps_off(found[200:], fresh, fraction) <= 0.01


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SHAPES)
def test_holds_a_thousandth_of_large_batches(name):
    batches = (streams.drawn(name, 100 + i, 10**5) for i in range(700))
    batches = [next(batches) for _ in range(50)] + list(_cycled(batches, 150, 500))
    found = thresholds(batches, 0.001)
    assert share_of_steps_off(found[200:], sorted_fresh(name), 0.001) <= 0.01


def _cycled(batches, distinct, steps):
    kept = [next(batches) for _ in range(distinct)]
    return (kept[i % distinct] for i in range(steps))


# The first on every backend, the others, the same arithmetic, on one.
@pytest.mark.parametrize(
    ("other", "fraction"),
    [
        pytest.param(other, fraction, marks=[pytest.mark.one_backend] * (i > 0))
        for i, (other, fraction) in enumerate(
            itertools.product(
                ["student_t3", "relu_sparse", "heavy_duplicates"], [0.02, 0.005, 0.2]
            )
        )
    ],
)
def test_follows_an_abrupt_change_and_back(other, fraction):
    names = ["normal", other, "normal"]
    parts = [streams.drawn(name, 20 + i, 500, 10**4) for i, name in enumerate(names)]
    found = thresholds([b for part in parts for b in part], fraction)
    for i, name in enumerate(names):
        after = found[500 * i + 200 : 500 * (i + 1)]
        off = share_of_steps_off(after, sorted_fresh(name), fraction)
        assert off <= 0.01, (i, name)
