"""Access to what Keras keeps private and offers no public way to.

Other modules use private names of Keras or PyTorch only to override methods, and to
exchange the tensor that a `keras.Variable` holds (`torch/adapter.py`).
"""

from typing import Any

import keras

from keras_mono._internal.typing import Tensor


def mask_of(x: Any) -> Tensor | None:
    """The mask that Keras attached to a tensor."""
    return getattr(x, "_keras_mask", None)


def is_output_of_a_call(x: Any) -> bool:
    """Whether `x` is a tensor of a functional model that an operation returned."""
    return getattr(x, "_keras_history", None) is not None


def operation_of(x: Tensor) -> Any:
    """The layer or operation that returned a tensor of a functional model."""
    return x._keras_history.operation


def inputs_of_call(x: Tensor) -> list[Tensor]:
    """The tensors that the call took which returned `x`."""
    made_by = x._keras_history
    node = made_by.operation._inbound_nodes[made_by.node_index]
    return list(node.input_tensors)


def flat_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers inside a model, in the order in which KerasHub numbers them."""
    return list(model._flatten_layers(include_self=False))


def sort_layers(model: keras.Model, key: Any) -> None:
    """Sort the layers that a model holds directly."""
    model._layers.sort(key=key)


def freeze_without_layers(model: keras.Model) -> None:
    """Set `trainable` of a model to False, and of none of its layers."""
    model._trainable = False


def given_compile_arguments(model: keras.Model) -> dict[str, Any] | None:
    """What `compile` was called with, as objects; None if Keras does not know."""
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    return None if config is None else dict(config)
