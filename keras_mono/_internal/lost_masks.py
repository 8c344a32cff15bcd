"""Warning of a Keras mask that does not reach a layer.

From Keras 3.16 on, recurrent layers, `Bidirectional` and `TimeDistributed` do not pass
masks on; earlier versions did.
"""

import warnings
from typing import Any

import keras

from keras_mono._internal.keras_private import call_of, mask_of
from keras_mono._internal.typing import Tensor


def warn_of_lost_mask(name: str, x: Tensor) -> None:
    """Warn if a layer before `x` has a mask and keeps the positions, and `x` has none.

    Only tensors of a functional model can be traced back.
    """
    seen: set[int] = set()
    waiting = [x] if isinstance(x, keras.KerasTensor) else []
    while waiting:
        tensor = waiting.pop()
        call = call_of(tensor)
        if id(tensor) in seen or call is None or mask_of(tensor) is not None:
            continue
        seen.add(id(tensor))
        operation, before = call.operation, call.input_tensors
        if _keeps_positions(operation) and mask_of(before[0]) is not None:
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
