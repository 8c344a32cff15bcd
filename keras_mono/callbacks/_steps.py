"""Counting training steps."""

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_mono.layers.running_statistics import RunningStatistics


def steps_done(batch: int, params: dict[str, Any] | None) -> int:
    """Steps of this epoch that are done when `batch` ends.

    With `steps_per_execution` the last execution of an epoch may be incomplete, and
    Keras counts it as a complete one. `params` holds the epoch's length if Keras knows
    it.
    """
    steps = (params or {}).get("steps")
    return batch + 1 if steps is None else min(batch + 1, steps)


def steps_before(
    epoch: int, callback: keras.callbacks.Callback, layers: Iterable[keras.layers.Layer]
) -> int:
    """Steps of earlier epochs, when a `fit` starts with the epoch `epoch`.

    If Keras does not know an epoch's length, this is the smallest positive count of the
    optimizer and of `layers`. Each may count too much: on TensorFlow the optimizer
    counts the end of such data as a step; a layer counts `calibrate` and every call.
    A new `compile` resets the optimizer's count.
    """
    if epoch == 0:
        return 0
    steps = (callback.params or {}).get("steps")
    if steps is not None:
        return epoch * int(steps)
    counts = [_steps_of_optimizer(callback.model), *map(steps_seen, layers)]
    counts = [count for count in counts if count > 0]
    if not counts:
        warnings.warn(
            f"Training goes on with epoch {epoch}, but how many steps came before it "
            "cannot be told: Keras does not know how long an epoch is, and neither the "
            "optimizer nor the layers have counted a step. Steps are counted from 0. "
            "Pass `steps_per_epoch` to `fit`, or load the weights of the run before.",
            stacklevel=4,  # the caller of the callback
        )
    return min(counts, default=0)


def steps_seen(layer: keras.layers.Layer) -> int:
    """Training batches that a layer has counted; 0 for layers of other libraries."""
    if not (isinstance(layer, RunningStatistics) and layer.built):
        return 0
    return int(keras.ops.convert_to_numpy(layer.step))


def _steps_of_optimizer(model: keras.Model) -> int:
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a loss scale
    if optimizer is None:
        return 0
    accumulated = optimizer.gradient_accumulation_steps or 1
    return int(keras.ops.convert_to_numpy(optimizer.iterations)) * accumulated
