from typing import Any

import numpy as np

from keras_mono._internal.tail_figures import own_phi
from keras_mono.analysis.feature_scores import FeatureScores, feature_scores
from keras_mono.analysis.labelled import labelled


def ks_statistic(z: np.ndarray, labels: Any) -> np.ndarray:
    """How much the distribution of φ on a neuron's own feature differs.

    The two-sample Kolmogorov-Smirnov statistic: the largest distance between the
    distribution functions of φ over the inputs of ℓ* and of φ over all inputs.

    Reference: L2E (arXiv:2503.23298), Fig. 4, where it falls as models grow.

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`. NaN and
            infinite entries are left out.
        labels: The feature of each sample, or of each input.

    Returns:
        One number per neuron, shape `(neurons,)`, 0 to 1; 0 if the feature makes no
        difference, NaN for a neuron that never changes.

    Raises:
        ValueError: if the lengths do not agree and for fewer than two features.

    Example:

    >>> z = np.array([[0.0], [0.0], [9.0], [0.0]])
    >>> float(km.analysis.ks_statistic(z, ["de", "de", "fr", "it"])[0])
    0.75
    """
    return ks_for(z, labels, feature_scores(z, labels))


def ks_for(z: np.ndarray, labels: Any, scores: FeatureScores) -> np.ndarray:
    """`ks_statistic` with the features ℓ* of given scores."""
    z, numbers, features = labelled(z, labels)
    phi = own_phi(z, 0.0)
    found = np.full(z.shape[1], np.nan)
    best = np.searchsorted(features, scores.best_feature)
    here = np.isin(scores.best_feature, features)  # `z` may be a sample
    for neuron in np.flatnonzero(here & ~np.isnan(scores.best_phi)):
        own = numbers == best[neuron]
        found[neuron] = _largest_distance(phi[:, neuron], own)
    return found


def _largest_distance(values: np.ndarray, own: np.ndarray) -> float:
    """K-S distance of `values[own]` and `values`, without NaN."""
    kept = ~np.isnan(values)
    if not (kept & own).any():
        return np.nan
    order = np.argsort(values[kept], kind="stable")
    ranked, own = values[kept][order], own[kept][order]
    last: np.ndarray = np.append(ranked[1:] != ranked[:-1], True)  # of equal values
    every = np.arange(1, len(ranked) + 1)[last] / len(ranked)
    return float(np.abs(np.cumsum(own)[last] / own.sum() - every).max())
