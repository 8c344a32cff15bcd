import keras
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km


def moments(values, ddof):
    if len(values) <= ddof:
        return (float(len(values)), float(np.mean(values)) if len(values) else 0.0, 0.0)
    return float(len(values)), float(np.mean(values)), float(np.var(values, ddof=ddof))


def merged(*arguments):
    arguments = [np.asarray(a, "float32") for a in arguments]
    return [keras.ops.convert_to_numpy(x) for x in km.ops.merge_moments(*arguments)]


@given(
    st.lists(st.floats(-5, 5, width=32), max_size=30),
    st.lists(st.floats(-5, 5, width=32), max_size=30),
)
def test_union(history, batch):
    together = moments([*history, *batch], 1)
    got = merged(*moments(history, 1), *moments(batch, 0))
    np.testing.assert_allclose(got, together, rtol=1e-4, atol=1e-4)


def test_counts_may_differ_by_neuron_and_be_zero():
    count, mean, variance = merged(
        [0.0, 5.0, 0.0], [7.0, 2.0, 3.0], [9.0, 4.0, 5.0], [3.0, 0.0, 0.0], 1.0, 2.0
    )
    np.testing.assert_array_equal(count, [3.0, 5.0, 0.0])
    # Nothing known: the batch alone. Nothing new: the history, to the last bit.
    np.testing.assert_allclose(mean[:2], [1.0, 2.0])
    np.testing.assert_allclose(variance[:2], [3.0, 4.0])
    assert np.isfinite([mean[2], variance[2]]).all()


def test_a_large_batch_leaves_nothing_of_a_small_history_to_cancel():
    _, _, variance = merged(2.0, 0.0, 1.0, 1e6, 0.0, 0.0)
    np.testing.assert_allclose(variance, 1 / (1e6 + 1), rtol=1e-5)


def test_nothing_new_changes_no_bit():
    rng = np.random.default_rng(0)
    mean, variance = rng.normal(size=1000), rng.random(1000)
    count = np.arange(2, 1002)
    _, new_mean, new_variance = merged(count, mean, variance, 0.0, 3.0, 2.0)
    np.testing.assert_array_equal(new_mean, mean.astype("float32"))
    np.testing.assert_array_equal(new_variance, variance.astype("float32"))
