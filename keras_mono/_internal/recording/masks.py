"""Which positions of a layer's output are padding, as far as the model tells."""

import inspect
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import keras

from keras_mono._internal.keras_private import mask_of
from keras_mono._internal.masks import combine_masks
from keras_mono._internal.typing import Tensor

_ARGUMENT = "padding_mask"  # of KerasHub's layers, also behind a prefix


class Masks:
    """Follows masks through the calls of a model on one batch.

    The mask of a call's output is the first of these: the mask that Keras attached to
    the output; the one that `compute_mask` gives for the masks of the inputs; the masks
    of the inputs themselves, if the output has the same positions. It is combined with
    padding masks among the call's arguments. A functional model may have several
    inputs: what a layer inside found for its output comes before their masks.

    Masks are remembered here because Keras drops them at a layer that does not support
    masking, and `MultiHeadAttention` removes them from its inputs. The model does not
    see the remembered ones. A model input named `padding_mask` masks its other inputs.
    """

    def __init__(self) -> None:
        # By id; the tensor is kept so that its id is not used again.
        self._of: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, x: Any) -> Tensor | None:
        """The mask of a tensor: the one of Keras, or else the remembered one."""
        mask = mask_of(x)
        return self._of[id(x)][1] if mask is None and id(x) in self._of else mask

    def call(self, layer: Any, original: Callable[..., Any], given: Any) -> Any:
        """Call `original` with `given = (args, kwargs)` and remember the output's mask.

        `layer` may be an operation of a functional model too, such as an addition.
        """
        args, kwargs = given
        if _has_input_names(layer) and args:
            args = (self._marked_inputs(layer, args[0]), *args[1:])
        arguments = inspect.signature(original).bind(*args, **kwargs).arguments
        first = next(iter(arguments.values()), None)
        if not isinstance(layer, keras.layers.Layer):
            first = [*arguments.values()]
        # Before the call, which may remove the masks.
        known = arguments.get("mask")
        if known is None:
            known = keras.tree.map_structure(self.of, first)
        tensors = keras.tree.flatten(first)
        for x, mask in zip(tensors, keras.tree.flatten(known), strict=False):
            self._remember(x, mask)
        padding = list(_padding_arguments(arguments))
        outputs = original(*args, **kwargs)
        masks = [m for m in keras.tree.flatten(known) if m is not None]
        tensors = [x for x in keras.tree.flatten(outputs) if keras.ops.is_tensor(x)]
        from_keras = self._from_keras(layer, first, known, tensors)
        for x, mask in zip(tensors, from_keras, strict=True):
            found = masks if mask is None else [mask]
            at_x = [at_positions(m, x) for m in [*found, *padding]]
            self._remember(x, reduce(combine_masks, at_x, None))
        return outputs

    def _marked_inputs(self, model: keras.Model, inputs: Any) -> Any:
        """The inputs as the tensors that the model will use, their masks remembered."""
        declared = {x.name: x.dtype for x in model.inputs}
        if isinstance(inputs, dict):
            named = dict(inputs)
        elif isinstance(inputs, list | tuple) and len(inputs) == len(declared):
            named = dict(zip(declared, inputs, strict=True))
        else:
            return inputs
        known = [n for n, x in named.items() if n in declared and x is not None]
        masks = [n for n in known if n.endswith(_ARGUMENT)]
        if not masks:
            return inputs
        for name in known:  # or the model would make other tensors of them
            named[name] = keras.ops.convert_to_tensor(named[name], declared[name])
        for name in masks:
            for x in _marked_by(name, named):
                self._remember(x, named[name])
        return named if isinstance(inputs, dict) else list(named.values())

    def _from_keras(
        self, layer: Any, first: Any, known: Any, outputs: list[Tensor]
    ) -> list[Tensor | None]:
        """The masks that Keras, or a functional model, gives the outputs."""
        masks = [mask_of(x) for x in outputs]
        if _has_input_names(layer):
            pairs = zip(outputs, masks, strict=True)
            masks = [self._from_inside(x) if m is None else m for x, m in pairs]
        supports = getattr(layer, "supports_masking", False)
        if supports and any(m is None for m in masks):
            computed = keras.tree.flatten(layer.compute_mask(first, known))
            for i, mask in enumerate(computed[: len(masks)]):
                masks[i] = mask if masks[i] is None else masks[i]
        return masks

    def _from_inside(self, x: Tensor) -> Tensor | None:
        """The remembered mask of `x`, if it has one entry per position."""
        mask = self.of(x)
        return mask if mask is not None and mask.ndim == x.ndim - 1 else None

    def _remember(self, x: Any, mask: Tensor | None) -> None:
        if mask is not None and keras.ops.is_tensor(x):
            self._of[id(x)] = x, mask


def _has_input_names(layer: Any) -> bool:
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _marked_by(name: str, inputs: dict[str, Tensor]) -> Iterator[Tensor]:
    """The inputs of the model that the input `name` masks.

    Those with the same prefix, such as `encoder_token_ids` for `encoder_padding_mask`;
    without a prefix, those of the same shape.
    """
    prefix, mask = name.removesuffix(_ARGUMENT), inputs[name]
    for other, x in inputs.items():
        is_other = other.startswith(prefix) and not other.endswith(_ARGUMENT)
        if not is_other or not keras.ops.is_tensor(x):
            continue
        fits = tuple(x.shape)[: mask.ndim] == tuple(mask.shape)
        if fits and (prefix or x.ndim == mask.ndim):
            yield x


def _padding_arguments(arguments: dict[str, Any]) -> Iterator[Tensor]:
    """Padding masks of the first argument among a call's arguments."""
    first = next(iter(arguments), "")
    sequences = {n for n, x in arguments.items() if "mask" not in n and x is not None}
    for name, x in arguments.items():
        prefix = name.removesuffix(_ARGUMENT)
        if name in (first, prefix) or not keras.ops.is_tensor(x):
            continue
        # `encoder_padding_mask` is that of `encoder_sequence`, if there is one.
        of_another = not first.startswith(prefix) and any(
            n.startswith(prefix) for n in sequences
        )
        if not (of_another or prefix.startswith("cross_")):
            yield x


def at_positions(mask: Tensor, x: Tensor) -> Tensor | None:
    """`mask` with one entry per position of `x`, whose last axis holds neurons.

    An axis that `x` does not have is reduced: an entry is valid if any along it is.
    None if the shapes of mask and positions differ.
    """
    mask = keras.ops.cast(mask, "bool")
    for axes in range(min(mask.ndim, x.ndim - 1), 0, -1):
        if mask.ndim > axes:
            mask = keras.ops.any(mask, axis=tuple(range(axes, mask.ndim)))
        pairs = zip(tuple(mask.shape), tuple(x.shape)[:axes], strict=True)
        if all(n in (1, length) for n, length in pairs):
            return mask
    return None
