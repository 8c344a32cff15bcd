"""Activations beside the features of their inputs, as every analysis takes them."""

from typing import Any

import numpy as np


def labelled(z: np.ndarray, labels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations `(inputs, neurons)`, each input's feature number, and the features.

    The last axis of `z` indexes neurons, the others inputs. `labels` has one entry an
    input, or one a sample, which then holds for all of its positions. Entries that are
    not finite stay as NaN.

    Raises:
        ValueError: if the lengths do not agree, for fewer than two features or inputs,
            and for labels that are NaN.
    """
    z = np.asarray(z, np.float64)
    labels = np.asarray(labels)
    if z.ndim < 2 or z.shape[-1] == 0:
        raise ValueError(
            "`z` must hold activations of shape (inputs, neurons) or (samples, ..., "
            f"neurons). Received: shape {z.shape}."
        )
    inputs = z.shape[:-1]
    if labels.ndim == 0 or labels.shape != inputs[: labels.ndim]:
        raise ValueError(
            "`labels` must have one entry a sample or one an input, that is the shape "
            f"{inputs[:1]} or {inputs}. Received: shape {labels.shape} for activations "
            f"of shape {z.shape}."
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(
            "`labels` must name the feature of every input. Received: "
            f"{int(np.isnan(labels).sum())} NaN. Leave those inputs out."
        )
    labels = labels.reshape(labels.shape + (1,) * (len(inputs) - labels.ndim))
    labels = np.broadcast_to(labels, inputs).reshape(-1)
    features, numbers = np.unique(labels, return_inverse=True)
    if len(features) < 2:
        raise ValueError(
            "An analysis by features needs inputs of at least two. Received: only "
            f"{features.tolist()}. Add inputs of other features."
        )
    z = z.reshape(-1, z.shape[-1])
    return np.where(np.isfinite(z), z, np.nan), numbers.reshape(-1), features


def phi_of(z: np.ndarray) -> np.ndarray:
    """φ of activations `(inputs, neurons)` against their own mean and variance.

    NaN where `z` is; 0 for a neuron that never changes.
    """
    counted = ~np.isnan(z)
    count = counted.sum(axis=0)
    mean = np.where(counted, z, 0.0).sum(axis=0) / np.maximum(count, 1)
    deviation = z - mean
    squares = np.where(counted, deviation, 0.0) ** 2
    variance = squares.sum(axis=0) / np.maximum(count - 1, 1)
    known = variance > 0
    return np.where(known, deviation**2 / np.where(known, variance, 1.0), deviation * 0)
