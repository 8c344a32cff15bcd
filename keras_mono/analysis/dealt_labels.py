"""Labels that are dealt anew at random, for the chance level of measures."""

import numpy as np


def dealt(labels: np.ndarray, positions: np.ndarray, seed: int) -> np.ndarray:
    """Labels dealt anew to samples, so that each keeps its share of the positions.

    If all samples have as many positions, the labels are permuted. Otherwise as many
    samples of one label as before would have more or fewer positions. So each label
    takes samples in a random order until it has about its number of positions, but at
    least one.

    Args:
        labels: One per sample.
        positions: How many positions of each sample count.
        seed: Of the order.
    """
    rng = np.random.default_rng(seed)
    if len(np.unique(positions)) < 2:
        return rng.permutation(labels)
    features, numbers = np.unique(labels, return_inverse=True)
    wanted = np.bincount(numbers, weights=positions)
    order = rng.permutation(len(labels))
    one_each, rest = order[: len(features)], order[len(features) :]
    left = np.maximum(wanted - positions[one_each], 0)
    found = np.empty_like(labels)
    found[one_each] = features
    if len(rest):
        ends = np.cumsum(left) / max(left.sum(), 1)
        middles = np.cumsum(positions[rest]) - positions[rest] / 2
        place = np.searchsorted(ends, middles / positions[rest].sum())
        found[rest] = features[np.minimum(place, len(features) - 1)]
    return found
