"""What the method asks of a backend: one interface, chosen once.

`backend` has the methods of `reference.Reference`, which is the definition. The
environment variable `KERAS_MONO_BACKEND=reference` takes the definition itself, on any
backend: slower, for tests.
"""

import importlib
import os
from typing import Any

import keras

from keras_mono.backend.reference import Reference
from keras_mono.backend.types import BatchMoments as BatchMoments
from keras_mono.backend.types import Statistics as Statistics
from keras_mono.backend.types import ThresholdState as ThresholdState


def _chosen() -> Reference:
    name = keras.config.backend()
    if name == "torch":
        from keras_mono.backend import torch

        return torch.chosen(os.environ.get("KERAS_MONO_BACKEND", ""))
    if os.environ.get("KERAS_MONO_BACKEND") == "reference":
        return Reference()
    if name == "jax":
        from keras_mono.backend import jax

        return jax.Jax()
    if name == "tensorflow":
        from keras_mono.backend import tensorflow

        return tensorflow.TensorFlow()
    return Reference()


backend = _chosen()

_IS_TORCH = keras.config.backend() == "torch"
calls = importlib.import_module(
    f"keras_mono.backend.{'torch.checkpoints' if _IS_TORCH else 'calls'}"
)

TrainingCall: Any = calls.TrainingCall
counted_once = calls.counted_once
current_backward = calls.current_backward
repeats_training = calls.repeats_training
