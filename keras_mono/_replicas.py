"""Sums over the replicas that share a batch: the one place that knows of them.

A replica is a device with a copy of the model and a part of each batch. On JAX under
`keras.distribution` there is nothing to do: arrays are the whole batch, and XLA adds up
over the devices.
"""

import importlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._internal.typing import Tensor

_BACKEND = keras.backend.backend()
# Keras has imported it; other backends need not be installed.
_tf: Any = importlib.import_module("tensorflow") if _BACKEND == "tensorflow" else None
_dist: Any = (
    importlib.import_module("torch.distributed") if _BACKEND == "torch" else None
)


def number() -> int:
    """How many replicas run this very call side by side; 1 where there are none.

    On TensorFlow those of the `tf.distribute` strategy, on PyTorch the processes of the
    default process group.
    """
    if _tf is not None:
        context = _tf.distribute.get_replica_context()
        return 1 if context is None else context.num_replicas_in_sync
    if _dist is not None and _dist.is_available() and _dist.is_initialized():
        return _dist.get_world_size()
    return 1


def total(x: Tensor) -> Tensor:
    """Sum of `x` over the replicas, the same on all of them; without gradient.

    Every replica has to call it, with the same shape: so never in a branch that
    replicas take by what they alone see, and on TensorFlow in no branch at all.
    """
    if number() == 1:
        return x
    if _tf is not None:
        return _tf.distribute.get_replica_context().all_reduce("SUM", x)
    if isinstance(x, np.ndarray | np.generic):  # of eager PyTorch, see `_eager.scalars`
        return ops.convert_to_numpy(total(ops.convert_to_tensor(x)))[()]
    x = ops.stop_gradient(x).contiguous().clone()
    _dist.all_reduce(x)
    return x


def average(x: Tensor) -> Tensor:
    """Mean of `x` over the replicas."""
    return total(x) / number()
