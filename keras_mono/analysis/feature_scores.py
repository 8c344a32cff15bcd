from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mono.analysis._extras import need
from keras_mono.analysis.labelled import as_labels, labelled
from keras_mono.analysis.summary import varies


@dataclass(frozen=True)
class FeatureScores:
    """How strongly each neuron answers to each feature.

    Attributes:
        features: The labels that occur, sorted, shape `(features,)`.
        count: Inputs of each feature that a neuron has a value for, shape `(features,
            neurons)`.
        phi: φ_ℓ, mean φ of a neuron over the inputs of a feature, same shape; NaN where
            there are none.
        phi_of_others: φ⁻_ℓ, the same over all other inputs.
        best_feature: ℓ*, each neuron's relatively monosemantic feature, shape
            `(neurons,)`; of equals the first.
        best_phi: φ_ℓ* of each neuron, 1 for a neuron that answers to all alike, at most
            the number of inputs over that of ℓ*. NaN for a neuron that never changes.
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
        """A pandas `DataFrame`, one row a neuron, in order of `ranking()`.

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
        return need("pandas").DataFrame(columns)


class FeatureStatistics:
    """Sums by feature and neuron from which `FeatureScores` follow, batch by batch.

    Memory is three numbers a feature and neuron, however many inputs there are.
    """

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        self.moments: dict[Any, np.ndarray] = {}  # count, mean, squared deviations

    def add(self, z: np.ndarray, labels: Any) -> None:
        """Count activations `(inputs, neurons)` with a label each; NaN is left out."""
        z, labels = np.asarray(z, np.float64), as_labels(labels)
        for feature in np.unique(labels):
            part = z[labels == feature]
            counted = np.isfinite(part)
            count = counted.sum(axis=0).astype(float)
            mean = np.where(counted, part, 0.0).sum(axis=0) / np.maximum(count, 1)
            squares = (np.where(counted, part - mean, 0.0) ** 2).sum(axis=0)
            key = feature.item()
            new = np.stack([count, mean, squares])
            old = self.moments.get(key, np.zeros((3, self.neurons)))
            self.moments[key] = _union(old, new)

    def scores(self) -> FeatureScores:
        """What the inputs so far tell.

        Raises:
            ValueError: for fewer than two features.
        """
        if len(self.moments) < 2:
            raise ValueError(
                "An analysis by features needs inputs of at least two. Received: "
                f"{list(self.moments)}."
            )
        features = np.array(sorted(self.moments))
        parts = np.stack([self.moments[f.item()] for f in features])
        whole = np.zeros((3, self.neurons))
        for part in parts:
            whole = _union(whole, part)
        total, center, squares = whole
        variance = squares / np.maximum(total - 1, 1)
        changes = varies(center, variance)
        count, mean, within = parts.transpose(1, 0, 2)
        # Of φ over a feature's inputs: deviations within it, and of its mean.
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
    """Which feature each neuron answers to, and how exclusively.

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
