"""`tf.debugging.enable_check_numerics` stops at nothing that the layers intend.

It stops at every NaN and infinity that any operation yields, a constant included.
"""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="TensorFlow has it"
)
LENGTH, FEATURES, NEURONS = 5, 4, 6


def layers():
    inhibition, penalty = (
        km.layers.MonosemanticInhibition,
        km.layers.MonosemanticPenalty,
    )
    more = {"axis": -1, "start_step": 1}
    return [
        km.layers.MonosemanticScale(axis=-1),
        inhibition(3, **more),
        inhibition(0.1, include_current_batch=True, **more),
        inhibition(0.001, active="always", **more),  # less than one a batch
        penalty(0.01, **more),
        penalty(0.01, 1, **more),
    ]


@pytest.fixture
def tf():
    import tensorflow as tf

    tf.debugging.enable_check_numerics()
    yield tf
    tf.debugging.disable_check_numerics()


def length_of(lengths):
    return lengths[0] if len(lengths) == 1 else None


def batches(lengths):
    rng = np.random.default_rng(0)
    for length in np.repeat(np.tile(lengths, 2), 2):
        z = rng.normal(size=(4, length, FEATURES)).astype("float32")
        z[:, -1] = 0.0  # masked
        yield z, z[..., :1]


def expect_training(tf, *, masked, run_eagerly=False, lengths=(LENGTH,)):
    """Behind a ReLU, so that zeros are tied; lengths are unknown if they differ.

    One `fit`: it traces the step once.
    """
    keras.utils.set_random_seed(0)
    ours = layers()
    model = keras.Sequential(
        [
            keras.Input((length_of(lengths), FEATURES)),
            *([keras.layers.Masking()] if masked else []),
            keras.layers.Dense(NEURONS, activation="relu"),
            *ours,
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-3), "mse", run_eagerly=run_eagerly)
    data = tf.data.Dataset.from_generator(
        lambda: batches(lengths),
        output_signature=(
            tf.TensorSpec((4, length_of(lengths), FEATURES)),
            tf.TensorSpec((4, length_of(lengths), 1)),
        ),
    )
    model.fit(data, verbose=0)
    counted = 2 * 8 * sum(length - masked for length in lengths)
    for layer in ours:
        assert numbers(layer.step) == 4 * len(lengths)
        np.testing.assert_array_equal(numbers(layer.count), counted)


@pytest.mark.slow
def test_training_in_a_graph(tf):
    expect_training(tf, masked=False)


@pytest.mark.slow
def test_training_eagerly_with_a_mask(tf):
    expect_training(tf, masked=True, run_eagerly=True)


@pytest.mark.slow
def test_samples_of_unknown_length_with_a_mask(tf):
    expect_training(tf, masked=True, lengths=(5, 3))


@pytest.mark.parametrize("n", [50, 2**16 + 3])
@pytest.mark.parametrize("k", [1, 2])
def test_the_kth_largest(tf, n, k):
    x = np.random.default_rng(0).normal(size=(2, n)).astype("float32")
    got = tf.function(lambda x: km.ops.kth_largest(x, k))(tf.constant(x))
    np.testing.assert_array_equal(numbers(got)[:, 0], np.sort(x)[:, -k])


def test_it_stops_at_an_infinity(tf):
    """Else the tests above show nothing."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="Infinity or NaN"):
        tf.constant(1.0) / tf.constant(0.0)
