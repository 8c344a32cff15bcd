from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mono._as_model import as_model
from keras_mono._layers import find_layers
from keras_mono.analysis.recording import Recorded, counted, record


def activations(
    model: keras.Model,
    data: Any,
    layers: Sequence[str],
    batch_size: int = 128,
    masked: float | None = None,
) -> dict[str, np.ndarray]:
    """Activations of named layers on given inputs, at inference.

    Args:
        model: Any built Keras model, nested and subclassed ones too, or a PyTorch
            module with adapters, which are its layers here.
        data: The model's inputs: an array, or a list, tuple or dict of arrays.
        layers: Names of layers. A name that stands more than once in nested models is
            given with its path, such as `"encoder/dense"`.
        batch_size: Samples a forward pass.
        masked: What to put where the layer's input is masked, such as `np.nan`, which
            the other functions leave out. None: what the layer computed there.

    Returns:
        Layer name to an array of the layer's output, shape `(samples, ...)`; of a layer
        of this library, its input. The calls of a layer that is called several times
        follow one another on the first axis, batch by batch.

    Raises:
        ValueError: for a name that the model does not have, listing those it has.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    >>> km.analysis.activations(model, np.ones((5, 4)), ["a"])["a"].shape
    (5, 3)
    """
    model = as_model(model)
    watched = find_layers(model, layers)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in watched}

    def consume(name: str, recorded: Recorded) -> None:
        z = keras.ops.convert_to_numpy(recorded.value)
        if masked is not None:
            z = np.where(counted(recorded)[..., None], z, masked)
        parts[name].append(z)

    record(model, data, watched, batch_size, consume)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
