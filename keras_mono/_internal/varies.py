"""When a neuron counts as constant, in the whole package."""

from typing import Any

_CONSTANT = 2.0**-22
_SMALLEST_VARIANCE = 1e-37  # its inverse is still a float32


def varies(mean: Any, variance: Any) -> Any:
    """Whether neurons vary by more than float32 rounds; arrays or tensors.

    A standard deviation of less than 2⁻²² of the mean is what rounding leaves of equal
    values.
    """
    rounding = _CONSTANT * mean
    return variance > rounding * rounding + _SMALLEST_VARIANCE
