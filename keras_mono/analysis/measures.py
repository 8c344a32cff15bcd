"""Measures of selectivity and sparseness from the literature."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from keras_mono._internal.optional_imports import require
from keras_mono._internal.varies import varies
from keras_mono.analysis.labelled import labelled


@dataclass(frozen=True)
class Measures:
    """One number per neuron and measure, shape `(neurons,)`; NaN if constant.

    Attributes:
        class_selectivity: (μ_max - μ_rest) / (μ_max + μ_rest) of the rectified
            activations: mean on the feature where it is largest, and mean of its means
            on the others. 0: equal responses to all features, 1: to one only.
            (Leavitt & Morcos, arXiv:2003.01262)
        class_purity: Of the inputs at which the neuron is active (z > 0), the share of
            the feature that has most. (MonoLoss, arXiv:2602.12403)
        mono_score: How alike pairs of inputs are, weighted by how strongly both
            activate the neuron: here 1 if they have the same feature, else 0.
            (MonoScore, arXiv:2504.02821)
        hoyer: (√n - Σ|z| / √Σz²) / (√n - 1) over n inputs. 0: the same magnitude
            everywhere, 1: one input only. (Hoyer 2004)
        treves_rolls: (1 - mean|z|² / mean z²) / (1 - 1/n), likewise from 0 to 1.
            (Treves & Rolls 1991; Vinje & Gallant 2000)
        wasserstein: Distance W₁ of the standardized activations to a standard normal,
            in standard deviations. 0: normal. (arXiv:2405.15756)
    """

    class_selectivity: np.ndarray
    class_purity: np.ndarray
    mono_score: np.ndarray
    hoyer: np.ndarray
    treves_rolls: np.ndarray
    wasserstein: np.ndarray

    def to_frame(self) -> Any:
        """A pandas `DataFrame`, one row per neuron.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return require("pandas").DataFrame(columns).rename_axis("neuron")


BY_FEATURE = ("class_selectivity", "class_purity", "mono_score")
"""Measures that depend on the labels."""


class MeasureSums:
    """Sums from which all measures but the Wasserstein distance follow.

    Memory is three numbers per feature and neuron, however many inputs there are.
    """

    def __init__(self, features: np.ndarray, neurons: int) -> None:
        self.features = features
        shape = (len(features), neurons)
        self.count, self.sums, self.rectified, self.active = np.zeros((4, *shape))
        self.magnitudes, self.squares = np.zeros((2, neurons))
        self.least = np.full(neurons, np.inf)
        self.largest = np.full(neurons, -np.inf)

    def add(self, z: np.ndarray, labels: np.ndarray) -> None:
        """Add activations `(inputs, neurons)` and their labels; NaN is skipped."""
        z = np.asarray(z, np.float64)
        counted = np.isfinite(z)
        of_feature = (labels == self.features[:, None]).astype(np.float64)
        kept = np.where(counted, z, 0.0)
        self.count += of_feature @ counted
        self.sums += of_feature @ kept
        self.rectified += of_feature @ np.maximum(kept, 0.0)
        self.active += of_feature @ (kept > 0.0)
        self.magnitudes += np.abs(kept).sum(axis=0)
        self.squares += (kept**2).sum(axis=0)
        low = np.where(counted, z, np.inf).min(axis=0, initial=np.inf)
        high = np.where(counted, z, -np.inf).max(axis=0, initial=-np.inf)
        self.least = np.minimum(self.least, low)
        self.largest = np.maximum(self.largest, high)

    def class_selectivity(self) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.rectified / self.count
            seen = np.isfinite(means)
            means = np.where(seen, means, 0.0)
            largest = means.max(axis=0)
            rest = (means.sum(axis=0) - largest) / (seen.sum(axis=0) - 1)
            both = largest + rest
            return self._known(np.where(both > 0, (largest - rest) / both, 0.0))

    def class_purity(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return self._known(self.active.max(axis=0) / self.active.sum(axis=0))

    def mono_score(self) -> np.ndarray:
        """From sums, without the pairs: Σ over pairs of a·a' is (Σa)² - Σa²."""
        number, total = self.count.sum(axis=0), self.sums.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            width = self.largest - self.least
            weights = (self.sums - self.count * self.least) / width
            squares = self.squares - 2 * self.least * total + number * self.least**2
            squares = squares / width**2
            same = (weights**2).sum(axis=0) - squares
            pairs = weights.sum(axis=0) ** 2 - squares
            # A single active input has no pair.
            has_pair = pairs > 1e-9 * weights.sum(axis=0) ** 2
            return self._known(np.where(has_pair, same / pairs, np.nan))

    def hoyer(self) -> np.ndarray:
        root = np.sqrt(self.count.sum(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._known(
                (root - self.magnitudes / np.sqrt(self.squares)) / (root - 1)
            )

    def treves_rolls(self) -> np.ndarray:
        number = self.count.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            activity = self.magnitudes**2 / (number * self.squares)
            return self._known((1 - activity) / (1 - 1 / number))

    def _known(self, measure: np.ndarray) -> np.ndarray:
        number = np.maximum(self.count.sum(axis=0), 1)
        mean = self.sums.sum(axis=0) / number
        variance = self.squares / number - mean**2
        # The range too, because rounding remains in the variance, a difference.
        constant = ~varies(mean, variance) | ~(self.largest > self.least)
        return np.where(constant, np.nan, measure)


def measures(z: np.ndarray, labels: Any) -> Measures:
    """Six measures of how selective or sparse each neuron is.

    They measure different things. The two class measures and MonoScore use the labels,
    the others only the distribution. A neuron that responds to one feature is sparse; a
    sparse neuron need not respond to any feature.

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`. NaN and
            infinite entries are left out.
        labels: The feature of each sample, or of each input.

    Returns:
        `Measures`.

    Raises:
        ImportError: if scipy is missing, naming the extra.
        ValueError: if the lengths do not agree and for fewer than two features.

    Example:

    >>> z = np.array([[0.0, 1.0], [0.0, 2.0], [9.0, 1.0], [8.0, 2.0]])
    >>> found = km.analysis.measures(z, ["de", "de", "fr", "fr"])
    >>> found.class_selectivity.tolist(), found.mono_score.round(2).tolist()
    ([1.0, 0.0], [1.0, 0.0])
    """
    z, numbers, features = labelled(z, labels)
    sums = MeasureSums(np.arange(len(features)), z.shape[1])
    sums.add(z, numbers)
    return measures_of(sums, wasserstein(z))


def permuted_measures(
    z: np.ndarray, labels: Any, seed: int = 0
) -> dict[str, np.ndarray]:
    """Chance level of the measures that use labels: their values for permuted labels.

    Args:
        z: As in `measures`.
        labels: As in `measures`.
        seed: Of the permutation.

    Returns:
        Name of a measure to an array of shape `(neurons,)`.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> z, labels = rng.normal(size=(1000, 2)), rng.integers(4, size=1000)
    >>> chance = km.analysis.permuted_measures(z, labels)["class_purity"]
    >>> bool((chance > 0.25).all() and (chance < 0.32).all())
    True
    """
    z, numbers, features = labelled(z, labels)
    sums = MeasureSums(np.arange(len(features)), z.shape[1])
    sums.add(z, np.random.default_rng(seed).permutation(numbers))
    return {name: getattr(sums, name)() for name in BY_FEATURE}


def measures_of(sums: MeasureSums, distance: np.ndarray) -> Measures:
    """All measures, from sums over all inputs and the distances of a sample."""
    names = [f.name for f in fields(Measures) if f.name != "wasserstein"]
    return Measures(**{n: getattr(sums, n)() for n in names}, wasserstein=distance)


def wasserstein(z: np.ndarray) -> np.ndarray:
    """W₁ distance of each column, standardized, to a standard normal."""
    return np.array([_distance_to_normal(column) for column in z.T])


def _distance_to_normal(values: np.ndarray) -> float:
    """∫ |F⁻¹(q) - Φ⁻¹(q)| dq, exactly for the empirical distribution F."""
    normal = require("scipy.stats").norm
    values = np.sort(values[np.isfinite(values)])
    if len(values) < 2 or not varies(values.mean(), values.var()):
        return np.nan
    values = (values - values.mean()) / values.std()
    edges = normal.ppf(np.linspace(0, 1, len(values) + 1))
    low, high = edges[:-1], edges[1:]
    # ∫ Φ⁻¹ dq from q to q' is the difference of densities, φ(Φ⁻¹(q)) - φ(Φ⁻¹(q')).
    turn = np.clip(values, low, high)
    below = values * (normal.cdf(turn) - normal.cdf(low))
    below -= normal.pdf(low) - normal.pdf(turn)
    above = normal.pdf(turn) - normal.pdf(high)
    above -= values * (normal.cdf(high) - normal.cdf(turn))
    return float((below + above).sum())
