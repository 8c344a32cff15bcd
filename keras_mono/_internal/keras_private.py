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


def call_of(x: Any) -> Any:
    """The call that returned a tensor of a functional model; None for other tensors.

    See `calls_in_order`. An input is returned by the call of an `InputLayer`.
    """
    made = getattr(x, "_keras_history", None)
    if made is None or made.operation is None:
        return None
    return made.operation._inbound_nodes[made.node_index]


def calls_in_order(graph: keras.Model) -> list[Any]:
    """The calls in a functional model, in the order in which they run.

    Each has an `operation`, flat `input_tensors` and `outputs`, and
    `arguments.fill_in(values)`: args and kwargs with the values of tensors by id.
    """
    by_depth = graph._nodes_by_depth
    depths = sorted(by_depth, reverse=True)
    return [call for d in depths for call in by_depth[d] if not call.is_input]


def sublayers(layer: Any, recursive: bool = False) -> list[keras.layers.Layer]:
    """The layers that a layer or model holds, in the order of KerasHub's numbers."""
    return list(layer._flatten_layers(include_self=False, recursive=recursive))


def sort_layers(model: keras.Model, key: Any) -> None:
    """Sort the layers that a model holds directly."""
    model._layers.sort(key=key)


def freeze_without_layers(model: keras.Model) -> None:
    """Set `trainable` of a model to False, and of none of its layers."""
    model._trainable = False


def given_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """What `compile` was called with, as objects."""
    return dict(model._compile_config.config)


def exclude_alike(old: keras.optimizers.Optimizer, new: Any) -> None:
    """Exclude from weight decay what `old` does, which trains the same variables."""
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if getattr(old, name, None):
            setattr(new, name, getattr(old, name))
