"""Figures of the tail of φ: how monosemantic a layer's activations are."""

import numpy as np

from keras_mono._internal.varies import varies

TOP_FRACTION = 0.02  # the tail: L2E's default share of monosemantic activations


def own_phi(z: np.ndarray, variance_compensation: float = 0.01) -> np.ndarray:
    """φ of every entry of `z` against its column's statistics; NaN if not finite."""
    z = np.asarray(z, np.float64)
    if z.ndim < 2 or len(z) < 2 or not z.size:
        raise ValueError(
            "`z` must hold at least two samples of at least one neuron, shape "
            f"(samples, ...). Received: shape {z.shape}. Pass more inputs."
        )
    counted = np.isfinite(z)
    count = counted.sum(axis=0)
    mean = np.where(counted, z, 0.0).sum(axis=0) / np.maximum(count, 1)
    deviation = np.where(counted, z - mean, 0.0)
    variance = (deviation**2).sum(axis=0) / np.maximum(count - 1, 1)
    variance = np.where(varies(mean, variance), variance, 0.0)
    known = count >= 2
    average = variance[known].mean() if known.any() else 0.0
    denominator = variance + variance_compensation * average
    scored = known & (denominator > 0)
    deviation = np.where(variance > 0, deviation, 0.0)
    phi = np.where(scored, deviation**2 / np.where(scored, denominator, 1.0), 0.0)
    return np.where(counted, phi, np.nan)


def tail_figures(phi: np.ndarray) -> dict[str, float]:
    """`top1`, `threshold`, `tail` and `kurtosis` of φ, shape `(samples, ...)`.

    NaN entries are skipped; without any others the figures are NaN.
    """
    phi = np.asarray(phi, np.float64).reshape(len(phi), -1)
    counted = ~np.isnan(phi)
    if not counted.any():
        return dict.fromkeys(("top1", "threshold", "tail", "kurtosis"), np.nan)
    values = phi[counted]
    largest = np.where(counted, phi, -np.inf).max(axis=1)
    tail = max(round(TOP_FRACTION * len(values)), 1)
    return {
        "top1": float(largest[counted.any(axis=1)].mean()),
        "threshold": float(np.quantile(values, 1 - TOP_FRACTION)),
        "tail": float(np.partition(values, -tail)[-tail:].mean()),
        "kurtosis": float((values**2).mean()),
    }
