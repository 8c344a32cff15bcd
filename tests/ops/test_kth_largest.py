import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km


@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 10**6), st.data())
def test_equals_a_sort(rows, n, seed, data):
    k = data.draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, size=(rows, n)).astype("float32")  # many duplicates
    x[rng.random((rows, n)) < 0.1] = -np.inf
    expected = np.sort(x, axis=1)[:, ::-1][:, k - 1 : k]
    got = keras.ops.convert_to_numpy(km.ops.kth_largest(x, k))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"1 to the row length 3. Received: k={k}"):
        km.ops.kth_largest(np.ones((2, 3), "float32"), k)
