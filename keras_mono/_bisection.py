"""The k-th largest value by bisection: comparisons and counts only, no sort.

Floats are in the order of the integers with the same bits (for negative floats, with
all bits but the sign flipped). So halving a range of 32-bit integers finds the k-th
largest in 32 passes, whatever k is, where XLA's top-k sorts whole rows.
"""

from typing import Any

import keras
from keras import ops

from keras_mono._typing import Tensor

_ALL_BUT_SIGN = 0x7FFFFFFF
_INFINITY = 0x7F800000  # its bits
_SMALLEST_NORMAL = 2.0**-126  # XLA takes smaller floats for 0


def kth_by_bisection(x: Tensor, k: int | Tensor) -> Tensor:
    """The k-th largest of each row, shape `(rows, 1)`, without gradient.

    `x` is float32 of shape `(rows, n)` with n ≥ 1 and without NaN; `k` is an integer or
    an int32 tensor that broadcasts to `(rows, 1)`. A row of fewer than k values gives
    -inf. Values below 1.2e-38 in magnitude are taken for 0.
    """
    x = ops.stop_gradient(x)
    zero = ops.zeros_like(x[:, :1], dtype="int32")
    # The smallest integer is -inf's, the largest one past that of inf.
    state = (zero - _INFINITY - 1, zero + _INFINITY + 1, zero + k, x)
    low, *_ = ops.fori_loop(0, 32, _halve, state)
    value = _float_of(low)
    return ops.where(ops.abs(value) < _SMALLEST_NORMAL, 0.0, value)


def _halve(_: Any, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """At least k values reach `low`, fewer reach `high`: move one of them between."""
    low, high, k, x = state
    middle = ops.bitwise_and(low, high) + ops.right_shift(ops.bitwise_xor(low, high), 1)
    reaching = ops.cast(x >= _float_of(middle), "int32")
    enough = ops.sum(reaching, axis=1, keepdims=True) >= k
    return ops.where(enough, middle, low), ops.where(enough, high, middle), k, x


def _float_of(integer: Tensor) -> Tensor:
    flipped = ops.bitwise_xor(integer, _ALL_BUT_SIGN)
    return _with_the_same_bits(ops.where(integer < 0, flipped, integer))


def _with_the_same_bits(integer: Tensor) -> Tensor:
    """Int32 read as float32 (`keras.ops.view` is not in the oldest Keras)."""
    backend = keras.backend.backend()
    if backend == "jax":
        from jax.lax import bitcast_convert_type

        return bitcast_convert_type(integer, "float32")
    if backend == "tensorflow":
        from tensorflow import bitcast

        return bitcast(integer, "float32")
    from torch import float32

    return integer.view(float32)
