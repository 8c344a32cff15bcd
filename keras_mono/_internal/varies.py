"""When a neuron counts as constant, in the whole package."""

from typing import Any

from keras_mono.backend.reference import CONSTANT, SMALLEST_DENOMINATOR


def varies(mean: Any, variance: Any) -> Any:
    """Whether neurons vary by more than float32 rounds; arrays or tensors.

    A standard deviation of less than 2⁻²² of the mean is what rounding leaves of equal
    values.
    """
    rounding = CONSTANT * mean
    return variance > rounding * rounding + SMALLEST_DENOMINATOR
