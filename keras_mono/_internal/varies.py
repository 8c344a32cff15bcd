"""When a neuron counts as constant, in the whole package."""

from typing import Any

from keras_mono.backend.reference import CONSTANT, CONSTANT_AWAY, SMALLEST_DENOMINATOR


def varies(mean: Any, variance: Any, shift: Any = None) -> Any:
    """Whether neurons vary by more than float32 rounds; arrays or tensors.

    A standard deviation of less than 2⁻²² of the mean is what rounding leaves of equal
    values; and one of less than 2⁻¹⁷ of `shift`, a mean that was taken out of them,
    since a sum of many is rounded.
    """
    rounding = CONSTANT * mean
    least = rounding * rounding + SMALLEST_DENOMINATOR
    if shift is not None:
        of_sum = CONSTANT_AWAY * shift
        least = least + of_sum * of_sum
    return variance > least
