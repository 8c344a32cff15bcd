"""Layers whose training calls are counted, operation by operation."""

import math
from typing import NamedTuple

import keras

import keras_mono as km

SHAPE = (32, 128, 768)
ACTIVATION = 4 * math.prod(SHAPE)  # bytes of a float32 tensor of that shape


class Case(NamedTuple):
    """A layer as it is counted."""

    layer: str  # with its form, if it is not the paper's
    select: str
    axis: int | None
    masked: bool

    def make(self) -> keras.layers.Layer:
        name, _, form = self.layer.partition(" ")
        arguments = {"axis": self.axis}
        if self.select:
            arguments |= {"select": _SELECTORS[self.select](), "start_step": 2}
        if form:
            arguments[_ARGUMENTS[name]] = form
        return getattr(km.layers, name)(**arguments)

    @property
    def name(self) -> str:
        """Without what does not change the method."""
        return ", ".join(filter(None, self[:2]))

    def __str__(self) -> str:
        masked = "masked" if self.masked else ""
        return ", ".join(filter(None, [self.name, f"axis={self.axis}", masked]))


_SELECTORS = {
    "top-1": lambda: km.selectors.TopK(1),
    "top-1 a position": lambda: km.selectors.TopK(1, per="position"),
    "top-50": lambda: km.selectors.TopK(50),
    "top-50 a position": lambda: km.selectors.TopK(50, per="position"),
    "threshold": lambda: km.selectors.MovingThreshold(0.02),
}
_ARGUMENTS = {"MonosemanticInhibition": "gradient", "MonosemanticPenalty": "form"}
_LAYERS = {
    "MonosemanticScale": [""],
    "MonosemanticInhibition": [*_SELECTORS],
    "MonosemanticInhibition scale_invariant": [*_SELECTORS],
    "MonosemanticPenalty l2e": [*_SELECTORS],
    "MonosemanticPenalty phi": [*_SELECTORS],
    "MonosemanticPenalty relative": ["top-1", "threshold"],
}
CASES = [
    Case(layer, select, axis, masked)
    for layer, selectors in _LAYERS.items()
    for select in selectors
    for axis in (None, -1)
    for masked in (False, True)
]
# Where compiling each takes seconds.
FEW = [
    Case("MonosemanticScale", "", -1, False),
    Case("MonosemanticInhibition", "top-1", None, False),
    Case("MonosemanticInhibition", "top-1", -1, False),
    Case("MonosemanticInhibition", "threshold", -1, False),
    Case("MonosemanticInhibition scale_invariant", "threshold", -1, False),
    Case("MonosemanticPenalty l2e", "threshold", -1, False),
    Case("MonosemanticPenalty phi", "threshold", -1, False),
    Case("MonosemanticPenalty relative", "threshold", -1, False),
]
