"""The k-th largest value without a sort: comparisons and counts only.

Floats from 0 on are in the order of the integers with the same bits. So halving a range
of integers finds the k-th largest in 31 passes, whatever k is, where XLA's top-k sorts
whole rows. Replicas, which have to add up their counts after each pass, divide the
range by 1,024 or more instead.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_mono import _replicas
from keras_mono._internal.typing import Tensor

_INFINITY = 0x7F800000  # its bits
_FRACTION_BITS = 23
# By the exponent's bits; 0 for subnormal numbers, which XLA takes for 0 too. Infinity
# is left out: TensorFlow's check_numerics stops at any, in a constant too.
_POWERS = np.array([0.0, *(2.0 ** (e - 127) for e in range(1, 255))], "float32")

PASSES = 31


def kth_by_bisection(
    x: Tensor, k: int | Tensor, passes: int | Tensor = PASSES
) -> Tensor:
    """The k-th largest of each row, shape `(rows, 1)`, without gradient.

    `x` is float32 of shape `(rows, n)` with n ≥ 1, finite and at least 0; `k` is an
    integer or an int32 tensor that broadcasts to `(rows, 1)`. A row of fewer than k
    values gives 0. Values below 1.2e-38 are taken for 0. With 0 `passes` the result
    means nothing, and costs nothing.
    """
    x = ops.stop_gradient(x)
    zero = ops.zeros_like(x[:, :1], dtype="int32")
    state = (zero, zero + _INFINITY, zero + k, x)
    low, *_ = ops.fori_loop(0, passes, _halve, state)
    return _float_of(low)


def kth_of_replicas(x: Tensor, k: Tensor, look: Tensor) -> Tensor:
    """The k-th largest of the values of all replicas together, a scalar.

    `x` is float32 of rank 1, finite and at least 0; k is at least 1. If not `look`, the
    same on all replicas, the result means nothing and no value is read.
    """
    low = ops.zeros((), "int32")
    parts_of_all = _INFINITY >> 20, 2**10, 2**10
    for shift, parts in zip((20, 10, 0), parts_of_all, strict=True):
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
    middle = low + ops.right_shift(high - low, 1)
    reaching = ops.cast(x >= _float_of(middle), "int32")
    enough = ops.sum(reaching, axis=1, keepdims=True) >= k
    return ops.where(enough, middle, low), ops.where(enough, high, middle), k, x


def _float_of(bits: Tensor) -> Tensor:
    """The float with these bits, from 0 on and below infinity."""
    power = ops.take(_POWERS, ops.right_shift(bits, _FRACTION_BITS))
    fraction = ops.bitwise_and(bits, (1 << _FRACTION_BITS) - 1)
    return power * (1.0 + ops.cast(fraction, "float32") * 2.0**-_FRACTION_BITS)
