"""The value that a fraction of a batch reaches, on one device or over replicas."""

import math
from functools import partial
from typing import Any

from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend

_INFINITY = 0x7F800000  # its bits
_JUST_LESS = 1.0 - 2.0**-24  # a whole number times this is rounded to a smaller one


def _index_of(expected: Any) -> Any:
    """Where the value stands that `expected` reach, among the largest, from 0 on.

    As a tensor a float, whose whole part counts.
    """
    if ops.is_tensor(expected):
        return ops.round(expected) * _JUST_LESS
    return max(round(expected), 1) - 1


def largest_of_fraction(phi: Tensor, expected: Any, fraction: float) -> Tensor:
    """The smallest of the `fraction` largest φ, a scalar; at least 1 is taken.

    `expected` is how many that are: `fraction` of those that count.
    """
    row = ops.reshape(phi, (-1,))
    size = row.shape[0]
    if not isinstance(size, int):
        row = ops.concatenate([row, ops.zeros_like(row[:1])])  # at least one
        return backend.entry(ops.flip(ops.sort(row)), _index_of(expected))
    if size == 0:
        return ops.sum(row)
    largest = math.ceil(fraction * size)  # from 1 to `size`
    values = ops.top_k(row, largest)[0]
    return backend.entry(values, _index_of(expected))


def largest_of_replicas(phi: Tensor, expected: Any, needed: Any) -> Tensor:
    """The `expected`-th largest over all replicas; not computed unless `needed`.

    Floats from 0 on are in the order of the integers with the same bits. So three
    messages find it, each of which divides the range by 1,024 or more.
    """
    x, rank = ops.reshape(phi, (-1,)), ops.cast(_index_of(expected), "int32") + 1
    low = ops.zeros((), "int32")
    parts_of_all = _INFINITY >> 20, 2**10, 2**10
    for shift, parts in zip((20, 10, 0), parts_of_all, strict=True):
        edges = ops.view(low + ops.arange(parts, dtype="int32") * 2**shift, "float32")
        reaching = backend.all_reduce_sum(
            backend.cond(
                needed,
                partial(_number_reaching, x, edges),
                partial(ops.zeros_like, edges, "int32"),
            )
        )
        enough = ops.cast(reaching >= rank, "int32")
        low = low + (ops.sum(enough) - 1) * 2**shift
    return ops.view(low, "float32")


def _number_reaching(x: Tensor, edges: Tensor) -> Tensor:
    """How many values reach each of the ascending edges, int32."""
    parts = edges.shape[0]
    below = ops.searchsorted(edges, x, side="right")  # 0: less than the first edge
    number = ops.bincount(below, minlength=parts + 1)
    number = ops.reshape(ops.cast(number, "int32"), (parts + 1,))
    return ops.flip(ops.cumsum(ops.flip(number[1:])))
