"""Names for types that Keras leaves open."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the active backend, a `keras.KerasTensor` or a NumPy array."""

Logs: TypeAlias = dict[str, float] | None
"""What Keras hands to a callback."""

Axes: TypeAlias = tuple[int, ...]
"""Axis numbers, non-negative and ascending."""
