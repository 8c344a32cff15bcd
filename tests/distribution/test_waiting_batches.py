"""The arithmetic of reductions that wait, against float64 and on every backend."""

import keras
import numpy as np
import pytest

from keras_mono.backend import Statistics, backend
from keras_mono.layers.waiting_batches import WaitingBatches, all_reduce_batches

UNITS, FORGET = 3, 4


def parts():
    """Values of some batches, far from 0; the last neuron has none in the second."""
    random = np.random.default_rng(0)
    made = [random.normal(1000.0, 0.5, size=(rows, UNITS)) for rows in (5, 8, 2)]
    made[1][:, -1] = np.nan
    return [x.astype("float32") for x in made]


def measured(x, statistics, has_history=None):
    z = keras.ops.convert_to_tensor(x)
    return backend.measure(z, None, statistics, (0,), has_history)[1]


def statistics(mean=999.5, count=6.0):
    row = np.ones((1, UNITS), "float32")
    variance = 0.25 * (count > 0.0) * row
    fields = (mean * row, 0.0 * row, variance, count * row, count * row)
    return Statistics(*map(keras.ops.convert_to_tensor, fields))


def of_all(values, before):
    """Mean, unbiased variance and count with the batches, in float64."""
    mean, _, variance, count, largest = (
        np.array(keras.ops.convert_to_numpy(x), "float64") for x in before
    )
    squared = variance * np.maximum(count - 1, 0)
    for x in values:
        x = x.astype("float64")
        n = np.isfinite(x).sum(axis=0, keepdims=True)
        largest = np.maximum(largest, n)
        kept = np.where(n > 0, np.minimum(count, FORGET * largest), count)
        squared = np.where(
            count > 1, squared * np.maximum(kept - 1, 0) / np.maximum(count - 1, 1), 0.0
        )
        batch = np.nansum(x, axis=0, keepdims=True) / np.maximum(n, 1)
        squared = squared + np.nansum(np.square(x - batch), axis=0, keepdims=True)
        squared = squared + kept * n / np.maximum(kept + n, 1) * np.square(mean - batch)
        mean = (kept * mean + n * batch) / np.maximum(kept + n, 1)
        count = kept + n
    return mean, squared / np.maximum(count - 1, 1), count


def joined(before, has_history):
    waiting = WaitingBatches()
    for x in parts():
        batch = measured(x, before)
        after, batches = waiting.join(before, batch, FORGET, 3, has_history)
    return after, batches


@pytest.mark.parametrize("has_history", [True, False])
def test_batches_join_the_statistics_in_their_order(has_history):
    before = statistics() if has_history else statistics(0.0, 0.0)
    after, batches = joined(before, has_history)
    mean, variance, count = of_all(parts(), before)
    total = keras.ops.convert_to_numpy(after.mean).astype("float64")
    total = total + keras.ops.convert_to_numpy(after.mean_compensation)
    # Without a mean to measure from, the first batch's has the digits of a float32.
    rtol = 1e-7 if has_history else 2e-7
    np.testing.assert_allclose(total, mean, rtol=rtol)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(after.variance), variance, rtol=1e-3
    )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(after.count), count)
    assert [float(batch.num_skipped) for batch in batches] == [0.0, 8.0, 0.0]
    assert [float(batch.num_entries) for batch in batches] == [15.0, 24.0, 6.0]


def test_batches_measured_from_different_means():
    """As when weights are loaded while batches wait."""
    waiting, (first, second, _) = WaitingBatches(), parts()
    other, before = statistics(1000.5), statistics()
    waiting.join(other, measured(first, other), FORGET, 2, True)
    after, _ = waiting.join(before, measured(second, before), FORGET, 2, True)
    mean, variance, _ = of_all([first, second], before)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(after.mean), mean, rtol=1e-7)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(after.variance), variance, rtol=1e-3
    )


def test_one_replica_alone_keeps_its_moments():
    before = statistics()
    batch = measured(parts()[0], before, True)
    (same,) = all_reduce_batches([batch], before, True)
    offset = batch.offset + batch.anchor_compensation
    batch = batch._replace(offset=offset, anchor_compensation=0.0)
    for found, expected in zip(same[:7], batch[:7], strict=True):  # without `valid`
        expected = keras.ops.convert_to_numpy(expected)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), expected, rtol=1e-5
        )


def test_what_waits_is_taken_once():
    waiting, before = WaitingBatches(), statistics()
    taken = [
        len(waiting.join(before, measured(x, before), FORGET, 3, True)[1])
        for x in parts() * 2
    ]
    assert taken == [0, 0, 3, 0, 0, 3]
    for number in (1, 2):
        selected = keras.ops.convert_to_tensor(np.arange(5) < number)
        waiting.add_counts(selected, 5.0)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(waiting.take_counts()), [3.0, 10.0]
    )
    assert waiting.take_counts() is None
