"""The samples on which each neuron is most active, and activations of some samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_mono._internal.data import Batches
from keras_mono._internal.model_layers import find_layers
from keras_mono._internal.recording.record import (
    Recorded,
    record_batches,
    valid_positions,
)
from keras_mono.analysis.labelled import label_of_inputs


class StrongestInputs:
    """The samples with each neuron's largest activations, batch by batch.

    A sample counts once, at the position where it is largest. Of equal ones the first
    are kept.

    Args:
        most: How many samples to keep per neuron.
        neurons: Of the layer.

    Attributes:
        activation: The largest first, shape `(most, neurons)`; -inf where there are
            fewer samples.
        sample: Numbers of the samples, same shape.
        position: Numbers of the positions within a sample, same shape.
    """

    def __init__(self, most: int, neurons: int) -> None:
        self.activation = np.full((most, neurons), -np.inf, np.float32)
        self.sample = np.zeros((most, neurons), np.int64)
        self.position = np.zeros((most, neurons), np.int64)

    def add(self, z: np.ndarray, there: np.ndarray, first: int) -> None:
        """Add a batch.

        Args:
            z: Activations, `(samples, ..., neurons)`.
            there: False at padding, `(samples, ...)`.
            first: Number of its first sample.
        """
        known = np.where(there[..., None] & np.isfinite(z), z, -np.inf)
        by_position = known.reshape(len(z), -1, z.shape[-1])
        position = by_position.argmax(axis=1)
        largest = np.take_along_axis(by_position, position[:, None], axis=1)[:, 0]
        changed = np.flatnonzero((largest > self.activation[-1]).any(axis=0))
        sample = np.broadcast_to(first + np.arange(len(z))[:, None], position.shape)
        new = {"activation": largest, "sample": sample, "position": position}
        joined = {
            name: np.concatenate([getattr(self, name)[:, changed], x[:, changed]])
            for name, x in new.items()
        }
        order = np.argsort(-joined["activation"], axis=0, kind="stable")
        for name, values in joined.items():
            kept = np.take_along_axis(values, order[: len(self.sample)], axis=0)
            getattr(self, name)[:, changed] = kept


@dataclass(frozen=True)
class Activity:
    """What a layer gave on the data.

    Attributes:
        strongest: The samples on which each neuron is most active.
        z: Activations on the inputs of some samples, `(inputs, neurons)`.
        labels: The label of each of these.
        units: Numbers of these inputs, among all positions of all samples.
        grid: How many positions a sample has along each axis; None if that differs.
    """

    strongest: StrongestInputs
    z: np.ndarray
    labels: np.ndarray
    units: np.ndarray
    grid: tuple[int, ...] | None


def activity(
    model: keras.Model,
    held: Batches,
    labels: np.ndarray,
    layers: Sequence[str],
    few: np.ndarray,
    most: int,
) -> dict[str, Activity]:
    """Run the model once, and see what its layers give.

    Args:
        model: That `profile` has run on these data.
        held: The data.
        labels: One per sample or position.
        layers: Names of the layers.
        few: Numbers of the samples whose activations are kept.
        most: How many samples to keep per neuron.
    """
    seen = {name: _Seen(labels, few, most) for name in layers}
    inputs = (batch for batch, _ in held)
    record_batches(model, inputs, find_layers(model, layers), _adding(seen))
    return {name: each.activity() for name, each in seen.items()}


def _adding(seen: Mapping[str, "_Seen"]) -> Any:
    return lambda name, recorded: seen[name].add(recorded)


class _Seen:
    """Collects the activity of one layer while the model runs."""

    def __init__(self, labels: np.ndarray, few: np.ndarray, most: int) -> None:
        self.labels, self.most = labels, most
        self.few: np.ndarray = np.zeros(len(labels), bool)
        self.few[few] = True
        self.samples = self.units = 0
        self.kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.grids: set[tuple[int, ...]] = set()

    def add(self, recorded: Recorded) -> None:
        z = recorded.as_float32()
        there = valid_positions(recorded)
        if not self.samples:
            self.strongest = StrongestInputs(self.most, z.shape[-1])
        self.strongest.add(z, there, self.samples)
        self.grids.add(z.shape[1:-1])
        batch = slice(self.samples, self.samples + len(z))
        units = self.units + np.arange(there.size).reshape(there.shape)
        labels = label_of_inputs(self.labels[batch], there.shape)
        chosen = there & self.few[batch].reshape(-1, *[1] * (there.ndim - 1))
        of_each = z[chosen], labels[chosen.reshape(-1)], units[chosen]
        self.kept.append(of_each)
        self.samples += len(z)
        self.units += there.size

    def activity(self) -> Activity:
        z, labels, units = (np.concatenate(x) for x in zip(*self.kept, strict=True))
        grid = self.grids.pop() if len(self.grids) == 1 else None
        return Activity(self.strongest, z, labels, units, grid)
