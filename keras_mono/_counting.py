"""Whole numbers that only grow: int32, and at the largest of them they stay."""

from keras import ops

from keras_mono._internal.typing import Tensor

LARGEST = 2**31 - 1


def increased(counter: Tensor, by: Tensor | int) -> Tensor:
    """`counter + by`, at most `LARGEST`; `by` is a whole number of any dtype."""
    if not isinstance(by, int):
        # The largest float32 below, which can be cast.
        by = ops.cast(ops.minimum(by, float(2**31 - 128)), "int32")
    return counter + ops.minimum(by, LARGEST - counter)
