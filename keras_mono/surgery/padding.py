"""Model inputs that mark padding, and whether they fit what a layer puts out.

KerasHub hands the padding mask over as an input of the model, not as a Keras mask, so a
layer that is put in later would not get it by itself.
"""

from typing import Any

import keras

from keras_mono._typing import Tensor
from keras_mono.surgery.places import is_graph

_ENDING = "padding_mask"  # KerasHub's names: padding_mask, encoder_padding_mask, ...


def check_mask_argument(mask: Any) -> None:
    if not (mask is None or mask is False or isinstance(mask, str)):
        raise ValueError(
            "`mask` must be the name of the model input that marks padding, None to "
            f"find it, or False for none. Received: mask={mask!r}."
        )


def padding_input(graph: keras.Model, mask: str | bool | None) -> str | None:
    """Name of the graph's input that marks padding; None if it has none."""
    if mask is False:
        return None
    names = input_names(graph)
    if isinstance(mask, str):
        return mask if mask in names else None
    found = [name for name in names if name.endswith(_ENDING)]
    if len(found) > 1:
        raise ValueError(
            f"Model '{graph.name}' has several inputs that mark padding: {found}. "
            "Name the one that belongs to the layers to follow, for example "
            f"`mask={found[0]!r}`, and insert after the others in a second call."
        )
    return found[0] if found else None


def input_names(graph: keras.Model) -> list[str]:
    inputs = getattr(graph, "inputs", None) or []  # missing before it is built
    return [x.name for x in inputs]


def all_graphs(model: keras.Model) -> list[keras.Model]:
    nested = [g for x in model.layers if is_graph(x) for g in all_graphs(x)]
    return [model, *nested]


def fits(mask: Tensor, outputs: Tensor) -> bool:
    """Whether `outputs` still has the positions that `mask` has one entry for each."""
    positions = tuple(mask.shape)
    return len(outputs.shape) > len(positions) and all(
        a is None or b is None or a == b
        for a, b in zip(positions, outputs.shape, strict=False)
    )
