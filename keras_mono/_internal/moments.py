"""Moments in NumPy: count, mean and sum of squared deviations, stacked."""

import numpy as np


def union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count, mean and squared deviations of two sets taken together."""
    total = a[0] + b[0]
    share = b[0] / np.maximum(total, 1)
    gap = b[1] - a[1]
    return np.stack([total, a[1] + gap * share, a[2] + b[2] + gap**2 * a[0] * share])
