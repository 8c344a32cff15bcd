from typing import Any

import torch

from keras_mono._internal import validation
from keras_mono._internal.as_model import as_model
from keras_mono._internal.model_layers import some_monosemantic_layers
from keras_mono.layers.running_statistics import RunningStatistics


def configure_replicas(
    model: Any, process_group: Any = None, reduce_every: int = 1
) -> None:
    """Choose the processes that share the batches of a model's layers, and how often.

    A group is needed where not all processes share a batch and Keras does not know
    which do: several models in one process, a rank that trains alone, tensor
    parallelism. `reduce_every=n` saves messages: statistics and τ change at every n-th
    training batch only, and are then those of reducing each batch; the last n - 1
    batches may never count (docs/distributed.md has the error).

    Every process of the group must call the layers in training equally often. Nothing
    of this is saved or copied with the model: configure a copy too.

    Args:
        model: A Keras model, a layer of this library, or a PyTorch module with
            adapters, before or after it is wrapped in `DistributedDataParallel`.
        process_group: A group of `torch.distributed` that this process belongs to; of a
            mesh, `mesh.get_group("data")`. None: the batch axis of
            `keras.distribution`, or else the default process group.
        reduce_every: Number of training batches between two reductions. Setting it
            forgets batches that wait.

    Raises:
        ValueError: if the model has none of this library's layers, and for a
            `reduce_every` that is no positive integer, or above 1 for a layer with
            `include_current_batch`.
        TypeError: if `process_group` is not a process group of this process.
    """
    _check_group(process_group)
    reduce_every = validation.positive_integer(
        "reduce_every", reduce_every, "of batches"
    )
    layers = some_monosemantic_layers(as_model(model))
    for layer in layers:
        _check_may_wait(layer, reduce_every)
    for layer in layers:
        layer.process_group = process_group
        layer.reduce_every = reduce_every
        layer.waiting.clear()


def _check_may_wait(layer: RunningStatistics, reduce_every: int) -> None:
    if reduce_every > 1 and getattr(layer, "include_current_batch", False):
        raise ValueError(
            "`reduce_every` must be 1 for a layer with `include_current_batch`. "
            f"Received: reduce_every={reduce_every} and layer '{layer.name}'. Make "
            "the layer with `include_current_batch=False`."
        )


def _check_group(process_group: Any) -> None:
    is_available = torch.distributed.is_available()  # else it has no `ProcessGroup`
    if process_group is None or (
        is_available and isinstance(process_group, torch.distributed.ProcessGroup)
    ):
        return
    raise TypeError(
        "`process_group` must be a group that this process belongs to, such as "
        "`torch.distributed.new_group(ranks)` returns in each of `ranks`. Received: "
        f"{process_group!r}. Pass a process group, of a `DeviceMesh` "
        "`mesh.get_group('data')`, or None for the default."
    )
