"""KerasHub's LoRA on a rebuilt backbone.

LoRA freezes every layer of the backbone, those of this library too, and stores which
layers it trains as their indices among all layers.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_mono._internal import keras_private
from keras_mono._internal.model_layers import named_layers
from keras_mono.surgery.places import is_monosemantic_layer

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
        before, after = _counted(old), _counted(new)
        place = {id(x): i for i, x in enumerate(after)}
        held = [before[i] for i in numbers]
        held = [replaced.get(id(x), x) for x in held]
        new._lora_enabled_layers = [place[id(x)] for x in held]
    new.enable_lora = _WithoutOurs(new)


class _WithoutOurs:
    """`enable_lora` without effect on this library's layers."""

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        ours = [
            x for x in named_layers(self.backbone).values() if is_monosemantic_layer(x)
        ]
        before = [x.trainable for x in ours]
        type(self.backbone).enable_lora(self.backbone, *args, **kwargs)
        for layer, trainable in zip(ours, before, strict=True):
            layer.trainable = trainable


def _counted(backbone: Any) -> list[keras.layers.Layer]:
    return [x for x in keras_private.flat_layers(backbone) if x.weights]
