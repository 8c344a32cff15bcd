from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mono._internal.optional_imports import require
from keras_mono._internal.varies import varies
from keras_mono.analysis.labelled import as_labels, labelled


@dataclass(frozen=True)
class FeatureScores:
    """How strongly each neuron responds to each feature.

    Attributes:
        features: The labels that occur, sorted, shape `(features,)`.
        count: Inputs of each feature with a finite activation, shape `(features,
            neurons)`.
        phi: φ_ℓ, mean φ of a neuron over the inputs of a feature, same shape; NaN where
            there are none.
        phi_of_others: φ⁻_ℓ, the same over all other inputs.
        best_feature: ℓ*, each neuron's relatively monosemantic feature, shape
            `(neurons,)`; the first one if there are ties.
        best_phi: φ_ℓ* of each neuron: 1 for equal responses to all features, at most
            the number of inputs over that of ℓ*, NaN for a constant neuron.
    """

    features: np.ndarray
    count: np.ndarray
    phi: np.ndarray
    phi_of_others: np.ndarray
    best_feature: np.ndarray
    best_phi: np.ndarray

    def ranking(self) -> np.ndarray:
        """Numbers of the neurons, the most monosemantic first, constant ones last."""
        return np.argsort(-np.nan_to_num(self.best_phi, nan=-1.0), kind="stable")

    def to_frame(self) -> Any:
        """A pandas `DataFrame`, one row per neuron, in order of `ranking()`.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        order = self.ranking()
        columns = {
            "neuron": order,
            "best_feature": self.best_feature[order],
            "best_phi": self.best_phi[order],
        }
        for number, feature in enumerate(self.features):
            columns[f"phi {feature}"] = self.phi[number, order]
        return require("pandas").DataFrame(columns)


class FeatureStatistics:
    """Sums by feature and neuron from which `FeatureScores` follow, batch by batch.

    Memory is three numbers per feature and neuron, however many inputs there are.
    """

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        self._row_of: dict[Any, int] = {}  # of a feature
        self._moments = np.zeros((3, 0, neurons))  # count, mean, squared deviations

    def add(self, z: np.ndarray, labels: Any) -> None:
        """Add activations `(inputs, neurons)` and their labels; NaN is skipped."""
        z, labels = np.asarray(z, np.float64), as_labels(labels)
        features, numbers = np.unique(labels, return_inverse=True)
        if not len(features):
            return
        order = np.argsort(numbers, kind="stable")
        numbers, z = numbers[order], z[order]
        starts = np.searchsorted(numbers, np.arange(len(features)))
        counted = np.isfinite(z)
        count = np.add.reduceat(counted, starts, axis=0, dtype=float)
        sums = np.add.reduceat(np.where(counted, z, 0.0), starts, axis=0)
        mean = sums / np.maximum(count, 1)
        deviations = np.where(counted, z - mean[numbers], 0.0)
        squares = np.add.reduceat(deviations**2, starts, axis=0)
        rows = self._rows(features.tolist())
        new = np.stack([count, mean, squares])
        self._moments[:, rows] = _union(self._moments[:, rows], new)

    def _rows(self, features: list[Any]) -> list[int]:
        """Rows of the features in `_moments`, which grows for new features."""
        for feature in features:
            self._row_of.setdefault(feature, len(self._row_of))
        missing = len(self._row_of) - self._moments.shape[1]
        if missing > 0:  # with spare rows, so that it is not copied for each
            room = np.zeros((3, missing + len(self._row_of) // 2, self.neurons))
            self._moments = np.concatenate([self._moments, room], axis=1)
        return [self._row_of[feature] for feature in features]

    def scores(self) -> FeatureScores:
        """The scores of the inputs added so far.

        Raises:
            ValueError: for fewer than two features.
        """
        if len(self._row_of) < 2:
            raise ValueError(
                "An analysis by features needs inputs of at least two. Received: "
                f"{list(self._row_of)}."
            )
        features = as_labels(sorted(self._row_of))
        rows = [self._row_of[f] for f in features.tolist()]
        parts = self._moments[:, rows].transpose(1, 0, 2)
        whole = np.zeros((3, self.neurons))
        for part in parts:
            whole = _union(whole, part)
        total, center, squares = whole
        variance = squares / np.maximum(total - 1, 1)
        changes = varies(center, variance)
        count, mean, within = parts.transpose(1, 0, 2)
        # Sums of squared deviations: within the feature, and of its mean.
        sums = within + count * (mean - center) ** 2
        scale = np.where(changes, variance, 1.0)
        with np.errstate(invalid="ignore"):
            phi = np.where(count > 0, sums / count / scale, np.nan)
            others = np.where(
                total > count, (squares - sums) / (total - count) / scale, np.nan
            )
        best = np.nan_to_num(phi, nan=-1.0).argmax(axis=0)
        best_phi = np.where(changes, phi[best, np.arange(self.neurons)], np.nan)
        return FeatureScores(features, count, phi, others, features[best], best_phi)


def _union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count, mean and squared deviations of two sets taken together."""
    total = a[0] + b[0]
    share = b[0] / np.maximum(total, 1)
    gap = b[1] - a[1]
    return np.stack([total, a[1] + gap * share, a[2] + b[2] + gap**2 * a[0] * share])


def feature_scores(z: np.ndarray, labels: Any) -> FeatureScores:
    """Which feature each neuron responds to, and how exclusively.

    `φ_ℓ = mean over the inputs of ℓ of (z - mean)² / variance`, with the neuron's mean
    and unbiased variance over all inputs. Its *relatively monosemantic feature* ℓ* is
    the one with the largest φ_ℓ.

    Reference: L2E (arXiv:2503.23298), eqs. 2 and 3.

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`. NaN and
            infinite entries are left out.
        labels: The feature of each sample, or of each input, anything that sorts.

    Returns:
        `FeatureScores`.

    Raises:
        ValueError: if the lengths do not agree and for fewer than two features.

    Example:

    >>> z = np.array([[0.0, 1.0], [0.0, 2.0], [9.0, 1.0], [0.0, 2.0]])
    >>> scores = km.analysis.feature_scores(z, ["de", "de", "fr", "it"])
    >>> str(scores.best_feature[0]), float(scores.best_phi[0])
    ('fr', 2.25)
    """
    z, numbers, features = labelled(z, labels)
    statistics = FeatureStatistics(z.shape[1])
    statistics.add(z, features[numbers])
    return statistics.scores()
