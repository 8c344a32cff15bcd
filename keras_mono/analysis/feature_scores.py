from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mono._internal.moments import union
from keras_mono._internal.optional_imports import require
from keras_mono._internal.varies import varies
from keras_mono.analysis.feature_rows import FeatureRows, Finite, Grouping
from keras_mono.analysis.labelled import as_labels, labelled


@dataclass(frozen=True)
class FeatureScores:
    """How strongly each neuron responds to each feature.

    Attributes:
        features: The labels that occur, sorted, shape `(features,)`.
        count: Inputs of each feature with a finite activation, shape `(features,
            neurons)`.
        phi: φ_ℓ, mean φ of a neuron over the inputs of a feature, same shape; NaN where
            there are none, and for a constant neuron.
        phi_of_others: φ⁻_ℓ, the same over all other inputs.
        best_feature: ℓ*, each neuron's relatively monosemantic feature, shape
            `(neurons,)`; the first one if there are ties, without meaning for a
            constant neuron.
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
        self._moments = FeatureRows(3, neurons)  # count, mean, squared deviations

    def add(self, z: np.ndarray, labels: Any) -> None:
        """Add activations `(inputs, neurons)` and their labels; NaN is skipped."""
        self.add_batch(Finite(z), Grouping(as_labels(labels)))

    def add_batch(self, batch: Finite, groups: Grouping) -> None:
        """Add activations that are already grouped by their labels."""
        number = groups.number(batch)
        mean = groups.total(batch.z) / np.maximum(number, 1)
        deviations = np.where(batch.counted, batch.z - mean[groups.numbers], 0.0)
        squares = groups.total(np.square(deviations, out=deviations))
        rows = self._moments.of(groups.features)
        values = self._moments.values
        values[:, rows] = union(values[:, rows], np.stack([number, mean, squares]))

    def whole(self) -> np.ndarray:
        """Count, mean and sum of squared deviations of each neuron, `(3, neurons)`."""
        whole = np.zeros((3, self.neurons))
        for part in self._moments.values.transpose(1, 0, 2):
            whole = union(whole, part)
        return whole

    def scores(self) -> FeatureScores:
        """The scores of the inputs added so far.

        Raises:
            ValueError: for fewer than two features.
        """
        known = self._moments.features()
        if len(known) < 2:
            raise ValueError(
                "An analysis by features needs inputs of at least two. Received: "
                f"{known}."
            )
        features = as_labels(known)
        total, center, squares = self.whole()
        variance = squares / np.maximum(total - 1, 1)
        changes = varies(center, variance)
        count, mean, within = self._moments.values[:, self._moments.of(known)]
        # Sums of squared deviations: within the feature, and of its mean.
        sums = within + count * (mean - center) ** 2
        scale = np.where(changes, variance, np.nan)
        with np.errstate(invalid="ignore"):
            phi = np.where(count > 0, sums / count / scale, np.nan)
            others = np.where(
                total > count, (squares - sums) / (total - count) / scale, np.nan
            )
        best = np.nan_to_num(phi, nan=-1.0).argmax(axis=0)
        best_phi = np.where(changes, phi[best, np.arange(self.neurons)], np.nan)
        return FeatureScores(features, count, phi, others, features[best], best_phi)


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
