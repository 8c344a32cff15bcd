"""The k-th largest value without a sort: comparisons and counts only.

Floats are in the order of the integers with the same bits (for negative floats, with
all bits but the sign flipped). So halving a range of 32-bit integers finds the k-th
largest in 32 passes, whatever k is, where XLA's top-k sorts whole rows. Replicas, which
have to add up their counts after each pass, divide the range by 1,024 or more instead.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_mono import _replicas
from keras_mono._typing import Tensor

_INFINITY = 0x7F800000  # its bits
_FRACTION_BITS = 23
# By the exponent's bits; 0 for subnormal numbers, which XLA takes for 0 too.
_POWERS = np.array([0.0, *(2.0 ** (e - 127) for e in range(1, 255)), np.inf], "float32")


PASSES = 32


def kth_by_bisection(
    x: Tensor, k: int | Tensor, passes: int | Tensor = PASSES
) -> Tensor:
    """The k-th largest of each row, shape `(rows, 1)`, without gradient.

    `x` is float32 of shape `(rows, n)` with n ≥ 1 and without NaN; `k` is an integer or
    an int32 tensor that broadcasts to `(rows, 1)`. A row of fewer than k values gives
    -inf. Values below 1.2e-38 in magnitude are taken for 0. With 0 `passes` the result
    means nothing, and costs nothing.
    """
    x = ops.stop_gradient(x)
    zero = ops.zeros_like(x[:, :1], dtype="int32")
    # The smallest integer is -inf's, the largest one past that of inf.
    state = (zero - _INFINITY - 1, zero + _INFINITY + 1, zero + k, x)
    low, *_ = ops.fori_loop(0, passes, _halve, state)
    return _float_of(low)


def kth_of_replicas(x: Tensor, k: Tensor, look: Tensor) -> Tensor:
    """The k-th largest of the values of all replicas together, a scalar.

    `x` is float32 of rank 1, at least 0 and without NaN; k is at least 1. If not
    `look`, the same on all replicas, the result means nothing and no value is read.
    """
    low = ops.zeros((), "int32")
    for shift, parts in ((20, 2**11), (10, 2**10), (0, 2**10)):  # the bits of a float
        edges = _float_of(low + ops.arange(parts, dtype="int32") * 2**shift)
        reaching = _replicas.total(
            ops.cond(
                look,
                lambda edges=edges: _number_reaching(x, edges),
                lambda edges=edges: ops.zeros_like(edges, "int32"),
            )
        )
        enough = ops.cast(reaching >= ops.cast(k, "int32"), "int32")
        low = low + (ops.sum(enough) - 1) * 2**shift
    return _float_of(low)


def _number_reaching(x: Tensor, edges: Tensor) -> Tensor:
    """How many values reach each of the ascending edges, int32."""
    parts = edges.shape[0]
    below = ops.searchsorted(edges, x, side="right")  # 0: less than the first edge
    number = ops.bincount(below, minlength=parts + 1)
    number = ops.reshape(ops.cast(number, "int32"), (parts + 1,))
    return ops.flip(ops.cumsum(ops.flip(number[1:])))


def _halve(_: Any, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """At least k values reach `low`, fewer reach `high`: move one of them between."""
    low, high, k, x = state
    middle = ops.bitwise_and(low, high) + ops.right_shift(ops.bitwise_xor(low, high), 1)
    reaching = ops.cast(x >= _float_of(middle), "int32")
    enough = ops.sum(reaching, axis=1, keepdims=True) >= k
    return ops.where(enough, middle, low), ops.where(enough, high, middle), k, x


def _float_of(integer: Tensor) -> Tensor:
    """The float with the bits of an integer, all but the sign flipped if negative."""
    negative = integer < 0
    bits = ops.where(negative, ops.bitwise_xor(integer, -1), integer)
    power = ops.take(_POWERS, ops.right_shift(bits, _FRACTION_BITS))
    fraction = ops.bitwise_and(bits, (1 << _FRACTION_BITS) - 1)
    magnitude = power * (1.0 + ops.cast(fraction, "float32") * 2.0**-_FRACTION_BITS)
    return ops.where(negative, -magnitude, magnitude)
