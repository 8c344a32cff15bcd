"""Activations as arrays.

Example:

>>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
>>> km.analysis.activations(model, np.ones((5, 4)), ["a"])["a"].shape
(5, 3)
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import batches
from keras_mono._internal.model_layers import find_layers
from keras_mono._internal.recording.record import (
    Recorded,
    record_batches,
    valid_positions,
)


def activations(
    model: keras.Model,
    data: Any,
    layers: Sequence[str],
    batch_size: int = 128,
    masked: float | None = None,
    steps: int | None = None,
) -> dict[str, np.ndarray]:
    """Activations of named layers on given inputs, at inference.

    Args:
        model: Any built Keras model, nested and subclassed ones too, or a PyTorch
            module with adapters, which are its layers here.
        data: The model's inputs: an array or tensor, or a list, tuple or dict of these,
            None for an optional one. Or a dataset, loader or generator of batches, of
            which targets and sample weights are ignored.
        layers: Names of layers, with the path where several share a name.
        batch_size: Samples per forward pass; not used for data that give batches.
        masked: What to put at padding, such as `np.nan`. None: what the layer computed.
            Padding is what Keras masks or a `padding_mask` marks, also after a layer
            that does not pass the mask on.
        steps: How many batches of `data` to take. None: all.

    Returns:
        Layer name to its output, `(samples, ...)`; of a layer of this library, its
        input. Several calls of a layer follow one another, batch by batch.
    """
    model = as_model(model)
    watched = find_layers(model, layers)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in watched}

    def consume(name: str, recorded: Recorded) -> None:
        z = keras.ops.convert_to_numpy(recorded.value)
        if masked is not None:
            z = np.where(valid_positions(recorded)[..., None], z, masked)
        parts[name].append(z)

    record_batches(model, batches(data, batch_size, steps), watched, consume)
    return {name: _joined(name, arrays) for name, arrays in parts.items()}


def _joined(layer: str, arrays: list[np.ndarray]) -> np.ndarray:
    shapes = sorted({array.shape[1:] for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"Layer '{layer}' must give the same shape for every batch to be put into "
            f"one array. Received: batches of shapes {shapes} beside the samples. Pad "
            "the inputs to one length."
        )
    return np.concatenate(arrays)
