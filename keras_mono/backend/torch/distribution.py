"""The processes that count as replicas, and how Keras distributes on PyTorch."""

from typing import Any

import keras

from keras_mono.backend.replicas import of_layer


def process_group() -> Any:
    """The layer's group, else the batch axis of Keras' distribution; None: all."""
    if of_layer.process_group is not None:
        return of_layer.process_group
    distribution = keras.distribution.distribution()
    mesh = _mesh_of(distribution)
    return None if mesh is None else mesh.get_group(distribution.batch_dim_name)


def keras_shards_arrays() -> bool:
    """Whether Keras makes arrays `DTensor`s of the whole batch."""
    distribution = keras.distribution.distribution()
    parallel = isinstance(distribution, keras.distribution.ModelParallel)
    return parallel and _mesh_of(distribution) is not None


def _mesh_of(distribution: Any) -> Any:
    """PyTorch's mesh; None before Keras 3.16, which distributes nothing on PyTorch."""
    if distribution is None:
        return None
    return getattr(distribution.device_mesh, "backend_mesh", None)
