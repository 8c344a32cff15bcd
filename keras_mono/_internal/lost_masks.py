"""Finding out that a Keras mask ended on its way to a layer.

From Keras 3.16 on, recurrent layers, `Bidirectional` and `TimeDistributed` pass no mask
on; before, they did.
"""

import warnings
from typing import Any

import keras

from keras_mono._internal.typing import Tensor


def warn_of_lost_mask(name: str, x: Tensor) -> None:
    """Warn if padding can be told before a layer that keeps positions, but not at `x`.

    `x` is a tensor of a functional model; nothing is known of any other.
    """
    seen: set[int] = set()
    waiting = [x] if isinstance(x, keras.KerasTensor) else []
    while waiting:
        tensor = waiting.pop()
        made_by = getattr(tensor, "_keras_history", None)
        if made_by is None or id(tensor) in seen or _mask_of(tensor) is not None:
            continue
        seen.add(id(tensor))
        operation: Any = made_by.operation
        before = operation._inbound_nodes[made_by.node_index].input_tensors
        if _keeps_positions(operation) and _mask_of(before[0]) is not None:
            warnings.warn(
                f"Layer '{name}' counts padding: a mask reaches '{operation.name}' "
                f"({type(operation).__name__}), which does not pass it on. Set "
                f"`supports_masking = True` on '{operation.name}' before the model is "
                "built, or hand the layer the mask as `padding_mask`.",
                stacklevel=2,
            )
            return
        waiting.extend(before)


def _keeps_positions(operation: Any) -> bool:
    if isinstance(operation, keras.layers.TimeDistributed):
        return True
    recurrent = (keras.layers.RNN, keras.layers.Bidirectional)
    return isinstance(operation, recurrent) and operation.return_sequences


def _mask_of(tensor: Any) -> Any:
    return getattr(tensor, "_keras_mask", None)
