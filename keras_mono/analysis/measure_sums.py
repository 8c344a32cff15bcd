"""Measures of selectivity and sparseness from sums over batches of activations."""

import numpy as np

from keras_mono._internal.varies import varies
from keras_mono.analysis.feature_rows import FeatureRows, Finite, Grouping
from keras_mono.analysis.labelled import as_labels

BY_FEATURE = ("class_selectivity", "class_purity", "mono_score")
"""Measures that depend on the labels."""


class ClassSums:
    """Sums by feature and neuron, from which the measures by feature follow."""

    def __init__(self, neurons: int) -> None:
        # count, sum, sum of the rectified activations, number of active inputs
        self._rows = FeatureRows(4, neurons)

    def add(self, batch: Finite, groups: Grouping) -> None:
        rows = self._rows.of(groups.features)
        added = [batch.z, batch.rectified, batch.active]
        new = [groups.number(batch), *map(groups.total, added)]
        self._rows.values[:, rows] += np.stack(new)

    def with_counts_of(self, other: "ClassSums") -> "ClassSums":
        """The same means by feature and neuron, with the numbers of inputs of `other`.

        Equal to itself where these agree.
        """
        found = ClassSums(self._rows.values.shape[2])
        features = other._rows.features()
        ours, theirs, new = (x._rows.of(features) for x in (self, other, found))
        count, wanted = self._rows.values[0, ours], other._rows.values[0, theirs]
        factor = np.where(count > 0, wanted / np.maximum(count, 1), 0.0)
        found._rows.values[:, new] = self._rows.values[:, ours] * factor
        return found

    def magnitudes(self) -> np.ndarray:
        """Σ|z| of each neuron."""
        _, sums, rectified, _ = self._rows.values.sum(axis=1)
        return 2 * rectified - sums

    def class_selectivity(self) -> np.ndarray:
        count, _, rectified, _ = self._rows.values
        with np.errstate(invalid="ignore", divide="ignore"):
            means = rectified / count
            seen = np.isfinite(means)
            means = np.where(seen, means, 0.0)
            largest = means.max(axis=0)
            rest = (means.sum(axis=0) - largest) / (seen.sum(axis=0) - 1)
            both = largest + rest
            return np.where(both > 0, (largest - rest) / both, 0.0)

    def selective_for(self) -> np.ndarray:
        """The feature on which the rectified activations are largest."""
        features = self._rows.features()
        count, _, rectified, _ = self._rows.values[:, self._rows.of(features)]
        with np.errstate(invalid="ignore"):
            largest = np.nan_to_num(rectified / count, nan=-1.0).argmax(axis=0)
        return as_labels(features)[largest]

    def class_purity(self) -> np.ndarray:
        active = self._rows.values[3]
        with np.errstate(invalid="ignore"):
            return active.max(axis=0) / active.sum(axis=0)

    def mono_score(
        self, squares: np.ndarray, least: np.ndarray, largest: np.ndarray
    ) -> np.ndarray:
        """From sums, without the pairs: Σ over pairs of a·a' is ((Σa)² - Σa²) / 2.

        Args:
            squares: Σ(z - least)² of each neuron.
            least, largest: Its smallest and largest activation.
        """
        count, sums, _, _ = self._rows.values
        with np.errstate(invalid="ignore", divide="ignore"):
            width = largest - least
            weights = np.where(count > 0, (sums - count * least) / width, 0.0)
            squares = squares / width**2
            same = (weights**2).sum(axis=0) - squares
            pairs = weights.sum(axis=0) ** 2 - squares
            # A single active input has no pair.
            has_pair = pairs > 1e-9 * weights.sum(axis=0) ** 2
            # Rounding can leave a little less than 0.
            return np.where(has_pair, np.clip(same / pairs, 0.0, 1.0), np.nan)


class MeasureSums:
    """What the measures need of all inputs, batch by batch.

    Memory is four numbers per feature and neuron, however many inputs there are.

    Attributes:
        own: Sums by the inputs' own labels.
        least, largest: The smallest and largest activation of each neuron.
    """

    def __init__(self, neurons: int) -> None:
        self.own = ClassSums(neurons)
        self.least = np.full(neurons, np.inf)
        self.largest = np.full(neurons, -np.inf)

    def add(self, batch: Finite, groups: Grouping) -> None:
        self.own.add(batch, groups)
        z, counted = batch.z, batch.counted
        least = z.min(axis=0, where=counted, initial=np.inf)
        largest = z.max(axis=0, where=counted, initial=-np.inf)
        self.least = np.minimum(self.least, least)
        self.largest = np.maximum(self.largest, largest)

    def by_feature(
        self, moments: np.ndarray, sums: ClassSums | None = None
    ) -> dict[str, np.ndarray]:
        """The measures that depend on the labels.

        Args:
            moments: Count, mean and sum of squared deviations of each neuron.
            sums: Of the same activations under labels dealt anew. Each label counts as
                often as it does in `own`. None: `own`.
        """
        sums = self.own if sums is None else sums.with_counts_of(self.own)
        number, mean, deviations = moments
        with np.errstate(invalid="ignore"):
            squares = deviations + number * (mean - self.least) ** 2
        found = {
            "class_selectivity": sums.class_selectivity(),
            "class_purity": sums.class_purity(),
            "mono_score": sums.mono_score(squares, self.least, self.largest),
        }
        return {name: self._known(values, moments) for name, values in found.items()}

    def sparseness(self, moments: np.ndarray) -> dict[str, np.ndarray]:
        """Hoyer's and Treves and Rolls' measure."""
        number, mean, deviations = moments
        squares, magnitudes = deviations + number * mean**2, self.own.magnitudes()
        root = np.sqrt(number)
        with np.errstate(invalid="ignore", divide="ignore"):
            hoyer = (root - magnitudes / np.sqrt(squares)) / (root - 1)
            activity = magnitudes**2 / (number * squares)
            treves_rolls = (1 - activity) / (1 - 1 / number)
        return {
            "hoyer": self._known(hoyer, moments),
            "treves_rolls": self._known(treves_rolls, moments),
        }

    def _known(self, measure: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """NaN for a constant neuron."""
        number, mean, deviations = moments
        variance = deviations / np.maximum(number, 1)
        # The range too, because rounding remains in the variance.
        constant = ~varies(mean, variance) | ~(self.largest > self.least)
        return np.where(constant, np.nan, measure)
