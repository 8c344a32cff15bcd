import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import keras_mono as km


def sorted_kth(x, k):
    return np.sort(x, axis=1)[:, ::-1][:, k - 1 : k]


def found(x, k):
    got = keras.ops.convert_to_numpy(km.ops.kth_largest(x, k))
    assert got.dtype == x.dtype
    return got


def drawn(rows, n, seed, kind):
    rng = np.random.default_rng(seed)
    x = {
        "duplicates": lambda: rng.integers(-3, 4, size=(rows, n)) * 1.0,
        "normal": lambda: rng.normal(size=(rows, n)),
        "squared, tiny to huge": lambda: np.exp(rng.uniform(-80, 80, size=(rows, n))),
        "constant": lambda: np.full((rows, n), rng.normal()),
        "neighbours": lambda: np.nextafter(
            np.float32(1), np.float32(rng.integers(0, 3, size=(rows, n)))
        ),
    }[kind]().astype("float32")
    x[rng.random((rows, n)) < rng.choice([0, 0.1, 0.9])] = -np.inf
    x[rng.random((rows, n)) < rng.choice([0, 0, 0.01])] = np.inf
    return x


KINDS = ["duplicates", "normal", "squared, tiny to huge", "constant", "neighbours"]


@given(
    st.integers(1, 4),
    st.sampled_from([1, 2, 3, 12, 127, 128, 129, 257, 1000]),
    st.integers(0, 10**6),
    st.sampled_from(KINDS),
    st.data(),
)
def test_equals_a_sort(rows, n, seed, kind, data):
    k = data.draw(st.integers(1, n) | st.just(n))
    x = drawn(rows, n, seed, kind)
    np.testing.assert_array_equal(found(x, k), sorted_kth(x, k))


@given(st.integers(0, 10**6), st.sampled_from(KINDS))
@example(0, "normal")
def test_a_few_of_a_long_row(seed, kind):
    x = drawn(3, 70007, seed, kind)
    for k in (2, 7, 50, 68, 69):
        np.testing.assert_array_equal(found(x, k), sorted_kth(x, k))


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_of_a_million(kind):
    x = drawn(3, 2**20 // 3 + 5, 0, kind)
    for k in (2, 50):
        np.testing.assert_array_equal(found(x, k), sorted_kth(x, k))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_keeps_the_dtype(dtype):
    if keras.backend.backend() == "jax" and dtype == "float64":
        pytest.skip("JAX makes it float32 by default")
    x = np.random.default_rng(0).normal(size=(4, 30)).astype(dtype)
    np.testing.assert_array_equal(found(x, 7), sorted_kth(x, 7))


@pytest.mark.parametrize("k", [0, -1, 4])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=f"1 to the row length 3. Received: k={k}"):
        km.ops.kth_largest(np.ones((2, 3), "float32"), k)


@pytest.mark.parametrize("n", [5, 300])
@pytest.mark.parametrize("k", [1, 2])
def test_no_rows(n, k):
    assert found(np.zeros((0, n), "float32"), k).shape == (0, 1)


@pytest.mark.parametrize("k", [2.5, True, None, "2"])
def test_k_must_be_an_integer(k):
    with pytest.raises(ValueError, match=r"`k` must be a positive integer"):
        km.ops.kth_largest(np.ones((2, 3), "float32"), k)


@pytest.mark.parametrize("x", [np.ones((2, 3, 4), "float32"), np.ones((2, 3), "int32")])
def test_x_must_be_a_matrix_of_floats(x):
    with pytest.raises(ValueError, match=r"floats of shape \(rows, n\)"):
        km.ops.kth_largest(x, 2)


@pytest.mark.parametrize("k", [1, 2])
def test_in_a_functional_model(k):
    assert km.ops.kth_largest(keras.Input((300,)), k).shape == (None, 1)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="lengths are known elsewhere"
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_rows_of_unknown_length(dtype):
    import tensorflow as tf

    rows = tf.TensorSpec((None, None), dtype)
    kth = tf.function(lambda x: km.ops.kth_largest(x, 3), input_signature=[rows])
    x = np.random.default_rng(0).normal(size=(4, 30)).astype(dtype)
    np.testing.assert_array_equal(kth(x).numpy(), sorted_kth(x, 3))
    assert np.isneginf(kth(x[:, :2]).numpy()).all()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.compile")
@pytest.mark.parametrize("k", [1, 2])
def test_in_one_compiled_graph(k):
    import torch

    kth = torch.compile(
        lambda x: km.ops.kth_largest(x, k), fullgraph=True, backend="eager"
    )
    x = np.random.default_rng(0).normal(size=(4, 30)).astype("float32")
    found = kth(torch.from_numpy(x)).cpu()
    np.testing.assert_array_equal(found, sorted_kth(x, k))
