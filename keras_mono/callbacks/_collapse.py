"""A layer that collapses while it trains: what is measured, and the warning."""

import math
import warnings
from typing import NamedTuple

import keras

from keras_mono.callbacks._spread import Spread
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty

SHRUNK = 0.2  # a layer is small below this share of an earlier scale
KILLED = 0.5  # many neurons have died if they are this share of all
GROWN = 1.25  # a small layer recovers above so many times its lowest scale
CONFIRMED = 3  # measurements in a row
_OTHER = ", or make it with `{}`, which does not shrink neurons"


class Earlier(NamedTuple):
    """What a layer is compared with."""

    spread: Spread
    when: str

    def shrinks_to(self, spread: Spread) -> float:
        """The scale relative to this one."""
        return spread.scale / self.spread.scale

    def died(self, spread: Spread) -> float:
        """The share of all neurons that varied and are dead now."""
        if self.spread.varying.shape != spread.varying.shape:
            # Positions of other lengths.
            return max(spread.dead - self.spread.dead, 0.0)
        return spread.share(self.spread.varying & ~spread.varying)


class Collapse:
    """Follows a layer through the measurements of a `fit`.

    The criterion, and why it is this one, stands in docs/monitor.md.
    """

    def __init__(self, name: str, layer: keras.layers.Layer) -> None:
        self.name, self.layer = name, layer
        self._first: Earlier | None = None
        self._before: Earlier | None = None
        self._lowest = math.inf
        self._times: list[str] = []  # of the measurements in a row
        self._has_warned = False

    def begin(self, spread: Spread) -> None:
        """Note what the layer is like before training."""
        if spread.varying.any():
            self._before = Earlier(spread, "before training")

    def follow(self, spread: Spread, when: str) -> dict[str, float]:
        """`scale` and `dead` of a measurement; warns if it confirms a collapse."""
        if self._first is None and spread.varying.any():
            self._first = Earlier(spread, f"in {when}")
        if spread.known.any():
            self._count(spread, when)
        # Not NaN where nothing varies: callbacks would keep it as their best value.
        first = self._first
        scale = spread.scale if first is None else first.shrinks_to(spread)
        return {"scale": scale, "dead": spread.dead}

    def _count(self, spread: Spread, when: str) -> None:
        earlier = self._larger_before(spread)
        if earlier is None:
            self._times.clear()
            return
        self._times.append(when)
        if len(self._times) >= CONFIRMED and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Layer '{self.name}' has collapsed since {self._times[0]}: "
                f"{_found(earlier, spread)} {_advice(self.layer)}",
                stacklevel=6,  # Keras, which runs the callback
            )

    def _larger_before(self, spread: Spread) -> Earlier | None:
        """What the layer was before its collapse; None if it has not collapsed."""
        before, first = self._before, self._first
        if first is None:
            return before
        if first.died(spread) >= KILLED:
            return first
        small = [first] if first.shrinks_to(spread) < SHRUNK else []
        if before and before.shrinks_to(spread) < SHRUNK:
            small += [before] if before.died(spread) >= KILLED else []
        self._lowest = min(self._lowest, spread.scale) if small else math.inf
        return small[0] if small and spread.scale <= GROWN * self._lowest else None


def _found(earlier: Earlier, spread: Spread) -> str:
    if not spread.varying.any():
        return f"none of its neurons varies on `data`; {earlier.when} some did."
    return (
        "the mean standard deviation of its neurons on `data` was "
        f"{earlier.spread.scale:.3g} {earlier.when} and is {spread.scale:.3g} now "
        f"({earlier.shrinks_to(spread):.1%}); {earlier.died(spread):.0%} of the "
        f"neurons have died since, {spread.dead:.0%} are dead."
    )


def _advice(layer: keras.layers.Layer) -> str:
    """What to do about a layer that collapses."""
    other = ""
    if isinstance(layer, MonosemanticPenalty):
        if layer.form == "l2e":
            other = _OTHER.format('form="relative"')
        first = f"Lower its `weight` (now {layer.weight:.3g}){other}."
    elif isinstance(layer, MonosemanticInhibition):
        if layer.gradient == "reversed":
            other = _OTHER.format('gradient="scale_invariant"')
        first = f"Lower its `strength` (now {layer.strength:.3g}){other}."
    else:
        first = (
            "It inhibits nothing itself: if another layer of the model does, lower "
            "that layer's `weight` or `strength`."
        )
    return (
        f"{first} A lower learning rate, or a normalization before the layer, helps "
        "where that is not the cause."
    )
