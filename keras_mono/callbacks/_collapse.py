"""A layer that collapses while it trains: what is measured, and the warning."""

import warnings

import keras

from keras_mono.callbacks._spread import Spread
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty

SHRUNK = 0.2
"""A layer has collapsed below this share of its first scale."""

KILLED = 0.5
"""Or with this share of its neurons dead that varied at first."""

CONFIRMED = 2
"""In so many measurements in a row: large learning rates make many layers dip once."""

_OTHER = ", or make it with `{}`, which does not shrink neurons"


class Collapse:
    """Follows a layer through the measurements of a `fit`.

    What it is compared with is the first measurement in which a neuron varies. Not what
    was before training: in the first steps of a training with a large learning rate a
    layer may shrink to a twentieth and grow again.
    """

    def __init__(self, name: str, layer: keras.layers.Layer) -> None:
        self.name, self.layer = name, layer
        self.first: Spread | None = None
        self._at_first = self._since = ""
        self._varied_before_training = False
        self._times = 0
        self._has_warned = False

    def begin(self, spread: Spread) -> None:
        """Note what the layer is like before training."""
        self._varied_before_training = bool(spread.varying.any())

    def follow(self, spread: Spread, when: str) -> dict[str, float]:
        """`scale` and `dead` of a measurement; warns if it confirms a collapse."""
        if self.first is None and spread.varying.any():
            self.first, self._at_first = spread, when
        if self._is_collapsed(spread):
            self._since = self._since or when
            self._times += 1
        elif spread.known.any():
            self._since, self._times = "", 0
        if self._times == CONFIRMED and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"Layer '{self.name}' has collapsed since {self._since}: "
                f"{self._found(spread)} {_advice(self.layer)}",
                stacklevel=5,  # Keras, which runs the callback
            )
        return {"scale": self._relative(spread), "dead": spread.dead}

    def _is_collapsed(self, spread: Spread) -> bool:
        if self.first is None:  # none varies, nor did before, but before training
            return self._varied_before_training and spread.scale == 0.0
        return self._relative(spread) < SHRUNK or self._newly_dead(spread) >= KILLED

    def _relative(self, spread: Spread) -> float:
        # Not NaN where nothing varies: callbacks would keep it as their best value.
        return spread.scale if self.first is None else spread.scale / self.first.scale

    def _newly_dead(self, spread: Spread) -> float:
        first = self.first
        if first is None:
            return 0.0
        if first.varying.shape != spread.varying.shape:  # positions of other lengths
            return max(spread.dead - first.dead, 0.0)
        return spread.share(first.varying & ~spread.varying)

    def _found(self, spread: Spread) -> str:
        if self.first is None:
            return "none of its neurons varies on `data`; before training some did."
        return (
            "the mean standard deviation of its neurons on `data` was "
            f"{self.first.scale:.3g} in {self._at_first} and is {spread.scale:.3g} now "
            f"({self._relative(spread):.1%}); {self._newly_dead(spread):.0%} of the "
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
