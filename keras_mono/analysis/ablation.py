"""What the network loses without one of its neurons.

Fixing a neuron at its mean removes its information, and the layers after it still get
values in their usual range.

Example:

>>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")])
>>> model.set_weights([np.array([[1.0], [0.0]]), np.array([0.0])])
>>> x = np.array([[0.0, 0.0], [0.0, 1.0], [4.0, 0.0], [4.0, 1.0]])
>>> found = km.analysis.ablation(
...     model, "a", [0], x, x[:, :1], ["low", "low", "high", "high"], loss="mse")
>>> found.increase[:, 0].tolist()
[4.0, 4.0]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_mono._internal.data import as_array, as_arrays, batches, number_of_samples
from keras_mono._internal.forward import forward
from keras_mono._internal.keras_private import mask_of
from keras_mono._internal.model_layers import find_layers
from keras_mono._internal.optional_imports import require
from keras_mono._internal.recording.call_hooks import changed_output, single_tensor
from keras_mono._internal.recording.masks import Masks
from keras_mono._internal.recording.record import (
    Recorded,
    record_batches,
    valid_positions,
)
from keras_mono._internal.typing import Tensor
from keras_mono.analysis.labelled import as_labels


@dataclass(frozen=True)
class Ablation:
    """The loss by feature, and its increase when a neuron is fixed at its mean.

    Attributes:
        features: The labels, sorted, shape `(features,)`.
        neurons: Numbers of the neurons, as given.
        loss: Mean loss by feature of the unchanged model, shape `(features,)`; NaN,
            as the increase, where every sample is padding alone.
        increase: Its increase with one neuron at its mean, in units of the loss, shape
            `(features, neurons)`.
    """

    features: np.ndarray
    neurons: np.ndarray
    loss: np.ndarray
    increase: np.ndarray

    def to_frame(self) -> Any:
        """A pandas `DataFrame`: neuron, feature, loss and increase.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        rows = [
            {
                "neuron": neuron,
                "feature": feature,
                "loss": self.loss[i],
                "increase": self.increase[i, j],
            }
            for j, neuron in enumerate(self.neurons)
            for i, feature in enumerate(self.features)
        ]
        return require("pandas").DataFrame(rows)


def ablation(
    model: keras.Model,
    layer: str,
    neurons: Sequence[int],
    x: Any,
    y: Any,
    labels: Any,
    loss: Any = None,
    batch_size: int = 128,
) -> Ablation:
    """The increase of the loss, feature by feature, with one neuron at its mean.

    A neuron is an index into the last axis of the layer's output; its mean is taken
    over all unmasked positions of `x`. A loss per position is averaged over those of a
    sample that neither the model nor the loss masks. A sample without any is left out.
    (MEmeL, arXiv:2312.11560, Fig. 2)

    Args:
        model: A built Keras model.
        layer: Name of the layer.
        neurons: Numbers of the neurons to ablate, one at a time.
        x: The model's inputs: an array, or a list, tuple or dict of arrays.
        y: The targets, an array.
        labels: The feature of each sample.
        loss: A Keras loss, its name, or `f(y_true, y_pred)`. None: the compiled one.
        batch_size: Samples per forward pass.
    """
    ((_, watched),) = find_layers(model, [layer]).items()
    per_sample = _per_sample_loss(model, loss)
    x, y, labels = _checked_data(x, y, labels, batch_size)
    mean, masks = _means_and_masks(model, x, watched, batch_size)
    chosen = _checked_neurons(neurons, layer, len(mean))
    features, numbers = np.unique(labels, return_inverse=True)
    run = partial(_losses, model, x, y, masks, per_sample, batch_size)
    plain = _by_feature(*run(), numbers)
    increases = []
    for neuron in chosen:
        with changed_output(watched, partial(_at_mean, neuron, mean)):
            increases.append(_by_feature(*run(), numbers) - plain)
    return Ablation(features, chosen, plain, np.stack(increases, axis=1))


def _checked_data(
    x: Any, y: Any, labels: Any, batch_size: int
) -> tuple[Any, np.ndarray, np.ndarray]:
    next(batches(x, batch_size))  # or an error that says what `x` must be
    x, y, labels = as_arrays(x), as_array(y), as_labels(labels)
    length = number_of_samples(x)
    if y is None:
        raise ValueError(
            "`y` must hold the targets that the loss compares with. Received: None. "
            "Pass an array with one entry per sample of `x`; of a model that gives its "
            "inputs back, `x` itself."
        )
    if labels.shape != (length,) or y.shape[:1] != (length,):
        raise ValueError(
            f"`y` and `labels` must have one entry per sample of `x`: {length}. "
            f"Received: targets of shape {y.shape} and labels of shape {labels.shape}."
        )
    return x, y, labels


def _checked_neurons(neurons: Any, layer: str, number: int) -> np.ndarray:
    chosen = np.asarray(neurons)
    if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"`neurons` must list numbers of neurons. Received: {neurons!r}."
        )
    if chosen.min() < 0 or chosen.max() >= number:
        raise ValueError(
            f"Layer '{layer}' has the neurons 0 to {number - 1}. Received: "
            f"{chosen.tolist()}."
        )
    return chosen


def _by_feature(
    losses: np.ndarray, counts: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """The mean loss of each feature over the samples that count; NaN if none does."""
    total = np.bincount(numbers, weights=np.where(counts, losses, 0.0))
    samples = np.bincount(numbers, weights=counts)
    return np.where(samples > 0, total, np.nan) / np.maximum(samples, 1)


def _at_mean(neuron: int, mean: np.ndarray, z: Tensor) -> Tensor:
    """`z` with one neuron at its mean."""
    fixed = np.arange(len(mean)) == neuron
    return keras.ops.where(fixed, keras.ops.cast(mean, z.dtype), z)


_Losses = tuple[np.ndarray, np.ndarray]


def _per_sample_loss(model: keras.Model, loss: Any) -> Callable[..., _Losses]:
    """A function of targets, predictions and their mask: see `_unreduced`."""
    given = getattr(model, "loss", None) if loss is None else loss
    if given is None:
        raise ValueError(
            f"Model '{model.name}' is not compiled. Pass `loss`, for example "
            "`loss='sparse_categorical_crossentropy'`."
        )
    if not isinstance(given, str | keras.losses.Loss) and not callable(given):
        raise ValueError(f"`loss` must be one Keras loss. Received: {given!r}.")
    found = keras.losses.get(given)
    if isinstance(found, keras.losses.Loss):
        return partial(_unreduced, found.call, found.dtype)
    return partial(_unreduced, found, keras.config.floatx())


def _unreduced(
    function: Any, dtype: str, target: np.ndarray, predicted: Tensor, mask: Any
) -> _Losses:
    """The loss of each sample, and whether it has a position that counts."""
    if target.ndim == predicted.ndim - 1 and predicted.shape[-1] == 1:
        target = target[..., None]  # else they would broadcast against each other
    target = keras.ops.cast(target, dtype)  # both as Keras does
    losses = function(target, keras.ops.cast(predicted, dtype))
    masks = mask, mask_of(losses)  # a loss masks the targets that it ignores
    losses = keras.ops.convert_to_numpy(losses)
    if losses.ndim == 0 or len(losses) != len(target):
        raise ValueError(
            "`loss` must give one number a sample or position. Received: a loss of "
            f"shape {losses.shape} for {len(target)} samples."
        )
    # Its entries are the positions; masks of others do not count.
    there = [valid_positions(Recorded(losses[..., None], m)) for m in masks]
    counts = np.logical_and(*there).reshape(len(target), -1)
    losses = losses.reshape(len(target), -1).astype(np.float64)
    number = counts.sum(axis=1)
    total = np.where(counts, losses, 0.0).sum(axis=1)
    return total / np.maximum(number, 1), number > 0


_ONE_OUTPUT = (
    "Ablation needs a model with one output, for example "
    "`keras.Model(model.inputs, model.outputs[0])`."
)


def _single_output(model: keras.Model, outputs: Any) -> Tensor:
    return single_tensor(f"Model '{model.name}'", outputs, _ONE_OUTPUT)


def _losses(
    model: keras.Model,
    x: Any,
    y: np.ndarray,
    masks: list[Any],
    per_sample: Callable[..., _Losses],
    batch_size: int,
) -> _Losses:
    """`per_sample` of all samples, in batches, with the mask of each batch."""
    parts = []
    for number, batch in enumerate(batches(x, batch_size)):
        target = y[number * batch_size : (number + 1) * batch_size]
        output = _single_output(model, forward(model, batch))
        parts.append(per_sample(target, output, masks[number]))
    losses, counts = zip(*parts, strict=True)
    return np.concatenate(losses), np.concatenate(counts)


def _means_and_masks(
    model: keras.Model, x: Any, layer: keras.layers.Layer, batch_size: int
) -> tuple[np.ndarray, list[Any]]:
    """The mean of each neuron over all inputs and positions, float64.

    Also the mask of the model's output in each batch, or None. It is that of the
    unchanged model: a neuron at its mean does not change which positions count.
    """
    total: list[Any] = [0.0, 0]
    samples = broken = 0
    masks: list[Any] = []

    def add(_: str, recorded: Recorded) -> None:
        nonlocal samples, broken
        z, there = recorded.as_float32(), valid_positions(recorded)
        samples += len(z)
        wrong = ~np.isfinite(z).all(axis=-1) & there
        broken += int(wrong.any(axis=tuple(range(1, wrong.ndim))).sum())
        z = z[there].astype(np.float64)
        total[0], total[1] = total[0] + z.sum(axis=0), total[1] + len(z)

    def add_mask(outputs: Any, known: Masks) -> None:
        mask = known.of(_single_output(model, outputs))
        masks.append(None if mask is None else keras.ops.convert_to_numpy(mask))

    data = batches(x, batch_size)
    record_batches(model, data, {layer.name: layer}, add, add_mask)
    if broken:
        raise ValueError(
            f"Layer '{layer.name}' gives NaN or infinite values on {broken} of "
            f"{samples} samples, which have no loss to compare. Leave them out."
        )
    if not total[1]:
        raise ValueError(
            f"Layer '{layer.name}' must have positions that are not padding. Received: "
            f"{samples} samples, all masked. Add others, or change the mask."
        )
    return np.atleast_1d(total[0] / total[1]), masks
