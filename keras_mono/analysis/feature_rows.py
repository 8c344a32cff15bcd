"""Sums over the inputs of each feature, and arrays with a row per feature."""

from functools import cached_property
from typing import Any

import numpy as np

_FEW = 128  # features, for which a product of matrices is faster than `reduceat`


class Finite:
    """Activations of a batch, of which those that are not finite do not count.

    Attributes:
        z: `(inputs, neurons)`, float64; 0 where not finite.
        counted: Where the activation is finite, same shape.
        complete: Whether all are.
    """

    def __init__(self, z: np.ndarray) -> None:
        self.z = np.asarray(z, np.float64)
        self.counted = np.isfinite(self.z)
        self.complete = bool(self.counted.all())
        if not self.complete:
            self.z = np.where(self.counted, self.z, 0.0)

    @cached_property
    def rectified(self) -> np.ndarray:
        return np.maximum(self.z, 0.0)

    @cached_property
    def active(self) -> np.ndarray:
        """1 where the activation is above 0, else 0."""
        return (self.z > 0.0).astype(float)


class Grouping:
    """Which inputs of a batch have which feature.

    Attributes:
        features: Those that occur, sorted.
        numbers: Index in `features` of each input.
    """

    def __init__(self, labels: np.ndarray) -> None:
        features, self.numbers = np.unique(labels, return_inverse=True)
        self.features: list[Any] = features.tolist()
        places = np.arange(len(features))
        if len(features) <= _FEW:
            self._of_feature = (self.numbers == places[:, None]).astype(float)
        else:
            self._order = np.argsort(self.numbers, kind="stable")
            self._starts = np.searchsorted(self.numbers[self._order], places)

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum of `(inputs, neurons)` over each feature: `(features, neurons)`."""
        if len(self.features) <= _FEW:
            return self._of_feature @ values.astype(float, copy=False)
        ordered = values[self._order]
        return np.add.reduceat(ordered, self._starts, axis=0, dtype=float)

    def number(self, batch: Finite) -> np.ndarray:
        """How many activations of each feature count: `(features, neurons)`."""
        if not self.features or not batch.complete:
            return self.total(batch.counted)
        each = np.bincount(self.numbers).astype(float)
        return np.broadcast_to(each[:, None], (len(each), batch.z.shape[1]))


class FeatureRows:
    """Numbers by feature and neuron, for features that are not known in advance.

    Attributes:
        values: Shape `(quantities, rows, neurons)`; 0 in rows that are still free.
    """

    def __init__(self, quantities: int, neurons: int) -> None:
        self.values = np.zeros((quantities, 0, neurons))
        self._row_of: dict[Any, int] = {}  # of a feature

    def features(self) -> list[Any]:
        """The features that have a row, sorted."""
        return sorted(self._row_of)

    def of(self, features: list[Any]) -> list[int]:
        """Rows of the features in `values`, which grows for new features."""
        for feature in features:
            self._row_of.setdefault(feature, len(self._row_of))
        quantities, rows, neurons = self.values.shape
        missing = len(self._row_of) - rows
        if missing > 0:  # with spare rows, so that it is not copied for each
            room = np.zeros((quantities, missing + len(self._row_of) // 2, neurons))
            self.values = np.concatenate([self.values, room], axis=1)
        return [self._row_of[feature] for feature in features]
