"""What each neuron gives on each feature, as numbers for a picture."""

import warnings
from typing import Any

import numpy as np

from keras_mono.analysis.feature_scores import FeatureScores
from keras_mono.analysis.page.numbers import numbers

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_MOST_FEATURES = 20  # of a neuron


def responses(
    scores: FeatureScores,
    z: np.ndarray,
    labels: np.ndarray,
    every: np.ndarray,
    neurons: np.ndarray,
) -> list[dict[str, Any]]:
    """Of each neuron the features with its largest φ, at most 20, in their order.

    Args:
        scores: Of the layer.
        z: Activations on some inputs, `(inputs, neurons)`.
        labels: The label of each of these.
        every: All labels that occur in the data, sorted; features are numbers of these.
        neurons: The neurons to describe.
    """
    ranked = np.nan_to_num(scores.phi[:, neurons], nan=-1.0)
    chosen = np.sort(
        np.argsort(-ranked, axis=0, kind="stable")[:_MOST_FEATURES], axis=0
    )
    shape = (len(QUANTILES) + 1, *chosen.shape)  # the last is the mean
    found = np.full(shape, np.nan)
    for place, feature in enumerate(scores.features):
        rows, columns = np.nonzero(chosen == place)
        if len(rows):
            here = z[labels == feature][:, neurons[columns]]
            found[:, rows, columns] = _figures(here)
    at = np.searchsorted(every, scores.features)
    return [
        {
            "feature": at[chosen[:, i]].tolist(),
            "phi": numbers(scores.phi[chosen[:, i], neuron]),
            "mean": numbers(found[-1, :, i]),
            "quantiles": numbers(found[:-1, :, i].T),
        }
        for i, neuron in enumerate(neurons)
    ]


def _figures(z: np.ndarray) -> np.ndarray:
    """Quantiles and mean of each column, `(6, neurons)`; NaN without any number."""
    z = np.where(np.isfinite(z), z, np.nan).astype(float)
    if not len(z):
        return np.full((len(QUANTILES) + 1, z.shape[1]), np.nan)
    if not np.isnan(z).any():
        return np.vstack([np.quantile(z, QUANTILES, axis=0), z.mean(axis=0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN alone
        quantiles = np.nanquantile(z, QUANTILES, axis=0)
        return np.vstack([quantiles, np.nanmean(z, axis=0)])
