"""Of numbers by neuron, those that are known: NaN marks a neuron without any."""

import numpy as np

from keras_mono.analysis.feature_scores import FeatureScores


def known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def mean_known(values: np.ndarray) -> float:
    """The mean; NaN if none is known."""
    kept = known(values)
    return float(kept.mean()) if len(kept) else np.nan


def not_finite(scores: FeatureScores) -> np.ndarray:
    """Boolean: the neurons of which no activation was finite."""
    found: np.ndarray = scores.count.sum(axis=0) == 0
    return found
