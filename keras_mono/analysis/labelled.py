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
    flat = label_of_inputs(labels, inputs)
    features, numbers = np.unique(flat, return_inverse=True)
    if len(features) < 2:
        raise ValueError(
            "An analysis by features needs inputs of at least two. Received: only "
            f"{features.tolist()}. Add inputs of other features."
        )
    z = z.reshape(-1, z.shape[-1])
    return np.where(np.isfinite(z), z, np.nan), numbers.reshape(-1), features


def label_of_inputs(labels: np.ndarray, inputs: tuple[int, ...]) -> np.ndarray:
    """One label an input, flat: a sample's label holds for all of its positions."""
    labels = labels.reshape(labels.shape + (1,) * (len(inputs) - labels.ndim))
    return np.broadcast_to(labels, inputs).reshape(-1)
