"""The figures of one watched layer."""

import math
from functools import cached_property

import keras
import numpy as np

from keras_mono._internal.masks import of_rank
from keras_mono._internal.recording.record import Recorded
from keras_mono._internal.tail_figures import own_phi, tail_figures
from keras_mono.backend.reference import LARGEST_ENTRY
from keras_mono.callbacks._spread import Spread
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.layers.selecting_layer import SelectingLayer
from keras_mono.selectors.moving_threshold import MovingThreshold

_OF_DATA = ("ms_top1", "ms_threshold", "ms_tail", "ms_kurtosis", "scale", "dead")


def figures_of(layer: keras.layers.Layer, has_data: bool) -> tuple[str, ...]:
    """Names of a layer's figures, which follow the layer's name in `logs`."""
    figures = [*_OF_DATA] if has_data else []
    if isinstance(layer, SelectingLayer):
        has_threshold = isinstance(layer.select, MovingThreshold)
        if has_data or has_threshold:
            figures.append(_share_name(layer))
        if has_threshold:
            figures.append("tau")
        if isinstance(layer, MonosemanticPenalty):
            figures.append("penalty")
    if figures and isinstance(layer, RunningStatistics):
        figures.append("non_finite")
    return tuple(figures)


def _share_name(layer: SelectingLayer) -> str:
    """How the share of activations that a layer selects is called."""
    return "penalized" if isinstance(layer, MonosemanticPenalty) else "inhibited"


def figures_from_state(layer: keras.layers.Layer) -> dict[str, float]:
    """Figures that need no forward pass."""
    figures: dict[str, float] = {}
    if isinstance(layer, RunningStatistics):
        left_out = keras.ops.convert_to_numpy(layer.non_finite) if layer.built else 0
        figures["non_finite"] = float(left_out)
    if isinstance(layer, MonosemanticPenalty):
        figures["penalty"] = layer.penalty
    if isinstance(layer, SelectingLayer) and isinstance(layer.select, MovingThreshold):
        state = layer.selector_state
        started = state["num_batches"] > 0
        # Infinite: nothing exceeds it. EarlyStopping would keep NaN as its best value.
        figures["tau"] = state["threshold"] if started else math.inf
        figures[_share_name(layer)] = state["selected_fraction"]
    return figures


class Scores:
    """Collects the φ of one layer, batch by batch, and computes its figures."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
        self.running = isinstance(layer, RunningStatistics)
        self.reference = "running statistics" if self.running else "data"
        self.parts: list[np.ndarray] = []
        self.is_finite = False  # some activation was
        self.selected = self.counted = 0
        self._spread = Spread()

    def add(self, recorded: Recorded) -> None:
        z = recorded.as_float32()
        if z.ndim == 0:
            raise ValueError(
                f"Layer '{self.layer.name}' gives one number for a whole batch. Watch "
                "layers with an output for each sample."
            )
        self.is_finite = self.is_finite or bool(np.isfinite(z).any())
        if not self.running:
            self.parts.append(z.reshape(-1, 1) if z.ndim == 1 else z)
            return
        phi = keras.ops.convert_to_numpy(self.layer.score(*recorded))
        # Scored are finite entries of neurons with a history.
        known = keras.ops.convert_to_numpy(self.layer.count) >= 2
        mean = keras.ops.convert_to_numpy(self.layer.mean)
        counted = known & (np.abs(z - mean) < LARGEST_ENTRY)  # not NaN either
        valid = np.abs(z) < LARGEST_ENTRY
        if recorded.mask is not None:
            mask = keras.ops.convert_to_numpy(of_rank(z.ndim, recorded.mask))
            counted, valid = counted & mask, valid & mask
        pooled = tuple(i for i, n in enumerate(self.layer.mean.shape) if n == 1)
        self._spread.add(z, valid, pooled)
        self.parts.append(np.where(counted, phi, np.nan))
        if isinstance(self.layer, SelectingLayer):
            selected = keras.ops.convert_to_numpy(self.layer.selected(*recorded))
            self.selected += int(selected.sum())
            self.counted += int(counted.sum())

    def figures(self) -> dict[str, float]:
        """The tail figures, and the share selected; NaN if nothing can be scored."""
        values = self._values
        if not self.running:
            scorable = len(values) >= 2 and values.size > 0
            values = own_phi(values) if scorable else np.full((1, 1), np.nan)
        figures = tail_figures(values)
        if isinstance(self.layer, SelectingLayer):
            share = self.selected / self.counted if self.counted else math.nan
            figures[_share_name(self.layer)] = share
        return figures

    def spread(self) -> Spread:
        """How much the neurons vary on the data."""
        if self.running:
            return self._spread
        spread = Spread()
        spread.add(self._values, np.abs(self._values) < LARGEST_ENTRY, (0,))
        return spread

    @cached_property
    def _values(self) -> np.ndarray:
        """All samples in one array, shorter ones padded with NaN."""
        parts = self.parts
        if not parts:
            return np.full((1, 1), np.nan)
        if len({part.ndim for part in parts}) > 1:
            parts = [part.reshape(len(part), -1) for part in parts]
        if len({part.shape[1:] for part in parts}) > 1:
            widest = np.max([part.shape for part in parts], axis=0)
            parts = [_widened(part, widest) for part in parts]
        return np.concatenate(parts)


def _widened(part: np.ndarray, widest: np.ndarray) -> np.ndarray:
    missing = [(0, n) for n in widest[1:] - part.shape[1:]]
    return np.pad(part, [(0, 0), *missing], constant_values=np.nan)
