"""KerasHub's LoRA on a rebuilt backbone.

LoRA freezes every layer of the backbone, those of this library too, and stores which
layers it trains as their indices among all layers.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras

from keras_mono._internal import keras_private
from keras_mono._internal.model_layers import (
    is_monosemantic_layer,
    monosemantic_layers,
)

ATTRIBUTES = ("enable_lora", "_lora_enabled_layers")  # not copied as they are


def keep_lora(
    old: Any, new: Any, replaced: Mapping[int, keras.layers.Layer | None]
) -> None:
    """Copy the LoRA state of the old backbone to the new one."""
    cls = type(new)
    if not (hasattr(cls, "enable_lora") and hasattr(cls, "save_lora_weights")):
        return
    # This library's layers last: the others keep their indices, so LoRA files fit both.
    keras_private.sort_layers(new, is_monosemantic_layer)
    numbers = getattr(old, "_lora_enabled_layers", None)
    if numbers is not None:
        place = {id(x): i for i, x in enumerate(_counted(new))}
        layers = _counted(old)
        held = [replaced.get(id(layers[i]), layers[i]) for i in numbers]
        new._lora_enabled_layers = [place[id(x)] for x in held]
    new.enable_lora = partial(_enable_lora, new)


def _enable_lora(backbone: Any, *args: Any, **kwargs: Any) -> None:
    """The class's `enable_lora`, without effect on this library's layers."""
    ours = monosemantic_layers(backbone).values()
    before = [x.trainable for x in ours]
    type(backbone).enable_lora(backbone, *args, **kwargs)
    for layer, trainable in zip(ours, before, strict=True):
        layer.trainable = trainable


def _counted(backbone: Any) -> list[keras.layers.Layer]:
    every = keras_private.sublayers(backbone, recursive=True)
    return [x for x in every if x.weights]
