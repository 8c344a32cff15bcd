"""How much the neurons of one layer vary on data."""

import numpy as np

from keras_mono._internal.moments import union
from keras_mono._internal.varies import varies


class Spread:
    """Mean and variance of each neuron, added up batch by batch in float64."""

    def __init__(self) -> None:
        self._moments = np.zeros((3, 1))  # count, mean and squared deviations

    def add(self, z: np.ndarray, counted: np.ndarray, axes: tuple[int, ...]) -> None:
        """Add the entries of `z` that count; `axes` are those that are no neurons."""
        count = counted.sum(axis=axes, keepdims=True)
        z = np.where(counted, z, 0.0).astype(np.float64)
        mean = z.sum(axis=axes, keepdims=True) / np.maximum(count, 1)
        squares = np.where(counted, (z - mean) ** 2, 0.0)
        squares = squares.sum(axis=axes, keepdims=True)
        self._moments = union(self._moments, np.stack([count, mean, squares]))

    @property
    def known(self) -> np.ndarray:
        """The neurons of which at least two values were added."""
        return self._moments[0] >= 2

    @property
    def varying(self) -> np.ndarray:
        """The neurons that are not dead."""
        return self.known & varies(self._moments[1], self._variance)

    @property
    def scale(self) -> float:
        """The mean standard deviation of the neurons; NaN of none."""
        if not self.known.any():
            return float("nan")
        deviations = np.where(self.varying, np.sqrt(self._variance), 0.0)
        return float(deviations[self.known].mean())

    @property
    def dead(self) -> float:
        """The share of neurons without variance; NaN of none."""
        return self.share(~self.varying)

    def share(self, neurons: np.ndarray) -> float:
        """Which part of the known neurons these are."""
        known = self.known
        if not known.any():
            return float("nan")
        return float((neurons & known).sum() / known.sum())

    @property
    def _variance(self) -> np.ndarray:
        count, _, squares = self._moments
        return squares / np.maximum(count, 1)
