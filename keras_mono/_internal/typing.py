"""Names for types that Keras leaves open."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the active backend, a `keras.KerasTensor` or a NumPy array."""

Axes: TypeAlias = tuple[int, ...]
"""Axis numbers, non-negative and ascending."""
