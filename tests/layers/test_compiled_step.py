"""What a compiled training call holds: no sort, no call of the host, few passes."""

import math

import keras
import pytest

from support import compiled_step
from support.compiled_step import HOST_CALLS, SORTS, Counts, counts
from support.counted_layers import FEW, SHAPE, Case
from support.small import Calls, on_gpu

if keras.backend.backend() not in ("jax", "tensorflow"):
    pytest.skip("what a compiler makes on JAX and TensorFlow", allow_module_level=True)

if on_gpu():
    pytest.skip("the limits are of the program for a CPU", allow_module_level=True)

# By case: kernels in every batch, passes of them over all activations, and reductions
# of all activations. BatchNormalization has 10, 6, 3 on JAX, and on TensorFlow 10, 5, 3
# with XLA and 42, 19, 5 without.
LIMITS = {
    "jax, XLA": [
        Counts(25, 7, 3),
        Counts(35, 9, 1),
        Counts(37, 11, 4),
        Counts(49, 12, 5),
        Counts(56, 20, 9),
        Counts(54, 14, 6),
        Counts(77, 28, 13),
        Counts(70, 30, 15),
    ],
    "tensorflow, XLA": [
        Counts(21, 6, 3),
        Counts(31, 8, 4),
        Counts(32, 8, 4),
        Counts(37, 9, 4),
        Counts(52, 19, 8),
        Counts(42, 11, 5),
        Counts(68, 28, 13),
        Counts(71, 32, 14),
    ],
    "tensorflow, graph": [
        Counts(72, 7, 3),
        Counts(98, 14, 4),
        Counts(99, 14, 4),
        Counts(119, 15, 4),
        Counts(178, 56, 8),
        Counts(150, 32, 7),
        Counts(204, 62, 14),
        Counts(208, 67, 14),
    ],
}
WAYS = {
    way: make
    for way, make in compiled_step.WAYS.items()
    if way.startswith(keras.backend.backend())
}
ACTIVATIONS = math.prod(SHAPE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(len(FEW)), ids=[str(case) for case in FEW])
def test_a_training_call(way, number):
    found = WAYS[way](FEW[number].make(), SHAPE)
    assert len(found) > 50
    assert not [o for o in found if HOST_CALLS.search(o.name)]
    assert not [o for o in found if SORTS.search(o.name) and o.always]
    held, limit = counts(found, ACTIVATIONS), LIMITS[way][number]
    assert all(n <= most for n, most in zip(held, limit, strict=True)), held


@pytest.mark.parametrize("way", WAYS)
def test_a_top_k_is_seen_to_sort(way):
    layer = Case("MonosemanticInhibition", "top-50", -1, False).make()
    found = WAYS[way](layer, SHAPE)
    assert [o for o in found if SORTS.search(o.name) and o.always]


def on_the_host(x):
    if keras.backend.backend() == "jax":
        import jax

        return x * jax.pure_callback(
            lambda x: x.mean(),
            jax.ShapeDtypeStruct((), "float32"),
            jax.lax.stop_gradient(x),
        )
    import tensorflow as tf

    factor = tf.numpy_function(lambda x: x.mean(), [x], tf.float32)
    return x * tf.ensure_shape(tf.stop_gradient(factor), ())


def test_a_call_of_the_host_is_seen():
    way = list(WAYS)[-1]  # XLA on TensorFlow compiles none
    found = WAYS[way](Calls(on_the_host), SHAPE)
    assert [o for o in found if HOST_CALLS.search(o.name)]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_computed_on_a_condition_does_not_run_in_every_batch(way):
    def sorted_if_positive(x):
        # Not `x` itself, whose sort may be moved out of the branch.
        positive = keras.ops.sum(x) > 0.0
        return keras.ops.cond(
            positive, lambda: keras.ops.sort(keras.ops.exp(x)), lambda: x
        )

    found = WAYS[way](Calls(sorted_if_positive), (4, 8))
    sorts = [o for o in found if SORTS.search(o.name)]
    assert sorts
    assert not any(o.always for o in sorts)


@pytest.mark.parametrize("way", WAYS)
def test_passes_and_reductions_are_counted(way):
    def standardized(x):
        return x * keras.ops.max(x)

    held = counts(WAYS[way](Calls(standardized), SHAPE), ACTIVATIONS)
    assert 1 <= held.reductions <= held.passes <= held.kernels <= 20
