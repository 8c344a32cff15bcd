from typing import Any

import keras
import torch

from keras_mono._internal import validation
from keras_mono._internal.as_model import as_model
from keras_mono._internal.model_layers import named_layers
from keras_mono.layers.running_statistics import RunningStatistics


def configure_replicas(
    model: Any, process_group: Any = None, reduce_every: int = 1
) -> None:
    """Choose the processes that share the batches of a model's layers, and how often.

    A group is needed only where they are not all processes, and Keras does not know
    them: for several models in one process, for a rank that trains alone, and for
    tensor parallelism, where only the data axis of a mesh shares a batch. Without it
    the layers ask `keras.distribution`, and else use the default process group.

    `reduce_every=n` saves messages where the network is slow: statistics and τ are
    reduced over the replicas, and change, at every n-th training batch only. Every
    reduction gives the mean, variance, counts and `step` of reducing each batch;
    between two of them all replicas use those of the latest (docs/distributed.md has
    the error). At the end of training up to n - 1 batches have not been counted.

    Every process of the group has to call the layers in training equally often. The
    group is not saved. A copy of the model (`copy.deepcopy`, `pickle`,
    `keras.models.clone_model`) does not have it: configure the copy too.

    Args:
        model: A Keras model, a layer of this library, or a PyTorch module with
            adapters, before or after it is wrapped in `DistributedDataParallel`.
        process_group: A group of `torch.distributed` that this process belongs to, as
            `SyncBatchNorm` takes it; of a mesh, `mesh.get_group("data")`. None: back to
            the choice of Keras, or the default process group.
        reduce_every: From how many training batches on the replicas tell each other
            their statistics. Batches that wait are forgotten when this is set, and are
            not saved. Without effect where there are no replicas.

    Raises:
        ValueError: if the model has none of this library's layers, if `reduce_every` is
            not a positive integer, and if it is above 1 for a layer with
            `include_current_batch`, which needs each batch's statistics at once.
        TypeError: if `process_group` is not a process group of this process.

    Example (PyTorch only, in each of 4 processes)::

        mesh = init_device_mesh("cuda", (2, 2), mesh_dim_names=("data", "model"))
        configure_replicas(model, mesh.get_group("data"))
    """
    _check_group(process_group)
    reduce_every = validation.positive_steps("reduce_every", reduce_every)
    layers = _layers_of(model)
    for layer in layers:
        if reduce_every > 1 and getattr(layer, "include_current_batch", False):
            raise ValueError(
                "`reduce_every` must be 1 for a layer with `include_current_batch`. "
                f"Received: reduce_every={reduce_every} and layer '{layer.name}'. Make "
                "the layer with `include_current_batch=False`."
            )
    for layer in layers:
        layer.process_group = process_group
        layer.reduce_every = reduce_every
        layer.waiting.clear()


def _check_group(process_group: Any) -> None:
    distributed = torch.distributed
    if process_group is None:
        return
    if distributed.is_available() and isinstance(
        process_group, distributed.ProcessGroup
    ):
        return
    raise TypeError(
        "`process_group` must be a group that this process belongs to, such as "
        "`torch.distributed.new_group(ranks)` returns in each of `ranks`. Received: "
        f"{process_group!r}. Pass a process group, of a `DeviceMesh` "
        "`mesh.get_group('data')`, or None for the default."
    )


def _layers_of(model: Any) -> list[RunningStatistics]:
    model = as_model(model)
    found: list[Any] = [model]
    if hasattr(model, "adapted_layers") or isinstance(model, keras.layers.Layer):
        found += named_layers(model).values()
    layers = [layer for layer in found if isinstance(layer, RunningStatistics)]
    if not layers:
        raise ValueError(
            "`model` must contain layers of this library. Received: "
            f"{type(model).__name__} without any. Add them before you configure their "
            "replicas."
        )
    return layers
