"""Measures of selectivity and sparseness from the literature."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from keras_mono._internal.optional_imports import require
from keras_mono.analysis.dealt_labels import dealt
from keras_mono.analysis.distribution import of_distribution
from keras_mono.analysis.feature_rows import Finite, Grouping
from keras_mono.analysis.feature_scores import FeatureStatistics
from keras_mono.analysis.labelled import as_labels, labelled
from keras_mono.analysis.measure_sums import ClassSums, MeasureSums


@dataclass(frozen=True)
class Measures:
    """Measures of each neuron, arrays of shape `(neurons,)`; NaN if constant.

    Attributes:
        class_selectivity: (μ_max - μ_rest) / (μ_max + μ_rest) of the rectified
            activations: mean on the feature where it is largest, and mean of its means
            on the others. 0: equal responses to all features, 1: to one only.
            (Leavitt & Morcos, arXiv:2003.01262)
        selective_for: The feature of μ_max. It says something only where
            `class_selectivity` lies above 0.
        class_purity: Of the inputs at which the neuron is active (z > 0), the share of
            the feature that has most. NaN if it is never active. (MonoLoss,
            arXiv:2602.12403)
        mono_score: How alike pairs of inputs are, here 1 if they have the same feature,
            else 0: a mean weighted by a·a', a = (z - min) / (max - min) of the neuron.
            It suits activations of at least 0: of others negative ones have a weight
            too. NaN if fewer than two inputs have one.
            (MonoScore, arXiv:2504.02821, from sums as in arXiv:2602.12403)
        hoyer: (√n - Σ|z| / √Σz²) / (√n - 1) over n inputs. 0: the same magnitude
            everywhere, 1: one input only. (Hoyer 2004)
        treves_rolls: (1 - mean|z|² / mean z²) / (1 - 1/n), likewise from 0 to 1.
            (Treves & Rolls 1991; Vinje & Gallant 2000)
        wasserstein: Distance W₁ of the standardized activations to a standard normal,
            in standard deviations. 0: normal. (arXiv:2405.15756)
        phi_tail: Mean of the neuron's 2 % largest φ, against its own mean and variance.
            About 7 for a normal one. (MEmeL Def. 3.1; the 2 % is L2E's)
    """

    class_selectivity: np.ndarray
    selective_for: np.ndarray
    class_purity: np.ndarray
    mono_score: np.ndarray
    hoyer: np.ndarray
    treves_rolls: np.ndarray
    wasserstein: np.ndarray
    phi_tail: np.ndarray

    def to_frame(self) -> Any:
        """A pandas `DataFrame`, one row per neuron.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return require("pandas").DataFrame(columns).rename_axis("neuron")


def measures(z: np.ndarray, labels: Any) -> Measures:
    """Seven measures of how selective, sparse or heavy-tailed each neuron is.

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
        ValueError: if the lengths do not agree and for fewer than two features.

    Example:

    >>> z = np.array([[0.0, 1.0], [0.0, 2.0], [9.0, 1.0], [8.0, 2.0]])
    >>> found = km.analysis.measures(z, ["de", "de", "fr", "fr"])
    >>> found.class_selectivity.tolist(), found.mono_score.round(2).tolist()
    ([1.0, 0.0], [1.0, 0.0])
    """
    z, numbers, features = labelled(z, labels)
    sums, moments = _summed(z, numbers)
    of_sums = sums.by_feature(moments) | sums.sparseness(moments)
    selective_for = features[sums.own.selective_for()]
    return Measures(selective_for=selective_for, **of_sums, **of_distribution(z))


def without_labels(z: np.ndarray) -> dict[str, np.ndarray]:
    """Sparseness and distance to a normal of each column of `z`."""
    sums, moments = _summed(z, np.zeros(len(z)))
    wasserstein = of_distribution(z)["wasserstein"]
    return sums.sparseness(moments) | {"wasserstein": wasserstein}


def permuted_measures(
    z: np.ndarray, labels: Any, seed: int = 0
) -> dict[str, np.ndarray]:
    """Chance level of the measures that use labels: their values for permuted labels.

    The labels are dealt anew at random, as they are given: one of a sample holds for
    all of its positions, and they stay together. Each label keeps its share of the
    positions, also where samples of some labels are longer than those of others. Of
    samples of one length the labels are permuted. Samples without activations, such as
    those of padding alone, take no part.

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
    labels = as_labels(labels)
    z, numbers, _ = labelled(z, labels)
    units = np.arange(labels.size).repeat(len(z) // max(labels.size, 1))
    return permuted_units(z, numbers, units, seed)


def permuted_units(
    z: np.ndarray, labels: np.ndarray, units: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """`permuted_measures` of `(inputs, neurons)`, whose labels are given by units.

    Args:
        z: Activations. Inputs without any, as those of padding, take no part.
        labels: One per input, the same for all inputs of a unit.
        units: What was labelled, one per input, such as the number of its sample.
        seed: Of the permutation.
    """
    there = np.isfinite(z).any(axis=1)
    z, labels = z[there], labels[there]
    _, first, numbers = np.unique(units[there], return_index=True, return_inverse=True)
    permuted = dealt(labels[first], np.bincount(numbers), seed)
    sums, moments = _summed(z, labels)
    other = ClassSums(z.shape[1])
    other.add(Finite(z), Grouping(permuted[numbers]))
    return sums.by_feature(moments, other)


def _summed(z: np.ndarray, labels: np.ndarray) -> tuple[MeasureSums, np.ndarray]:
    """Sums of all inputs, and the moments of each neuron."""
    batch, groups = Finite(z), Grouping(labels)
    statistics, sums = FeatureStatistics(z.shape[1]), MeasureSums(z.shape[1])
    statistics.add_batch(batch, groups)
    sums.add(batch, groups)
    return sums, statistics.whole()
