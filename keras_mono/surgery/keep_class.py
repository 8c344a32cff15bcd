"""Giving a rebuilt model the class and the attributes of the original.

`clone_model` returns a plain model if the constructor of the class does not take inputs
and outputs, as for every KerasHub backbone and task. Methods such as `generate` are the
class's and need its attributes.
"""

import copy
import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

import keras

from keras_mono.surgery import lora

# Not copied: what `fit` sets, and functions compiled for the old model.
_LEFT_BEHIND = {"history", "stop_training", "generate_function"}


def as_class_of(
    original: keras.Model,
    plain: keras.Model,
    replaced: Mapping[int, keras.layers.Layer | None],
) -> keras.Model:
    """`plain` as an instance of the original's class, with the original's attributes.

    The constructor of the class is not run: it would make new layers. `replaced` maps
    the id of an old layer to the new one.
    """
    cls: Any = type(original)
    new = cls.__new__(cls)
    if isinstance(original, keras.Sequential):
        inputs = getattr(plain, "inputs", None) or []  # missing before it is built
        keras.Sequential.__init__(new, [*inputs, *plain.layers], name=original.name)
    else:
        type(plain).__init__(new, plain.input, plain.output, name=original.name)
    carried = {**vars(original), **vars(original).get("_modules", {})}
    skipped = _of_every_model().union(lora.ATTRIBUTES)
    for name, value in carried.items():
        if name in skipped or name.startswith("_jax"):
            continue
        kept = None if name in _LEFT_BEHIND else _replace(value, replaced)
        setattr(new, name, kept)
    lora.keep_lora(original, new, replaced)
    return new


@cache
def _of_every_model() -> frozenset[str]:
    """Attributes that Keras itself gives any model, compiled or not."""
    x = keras.Input((1,))
    graph, chain = keras.Model(x, x), keras.Sequential([x, keras.layers.Identity()])
    names: set[str] = {"_modules"}
    for model in (graph, chain):
        model.compile("sgd", "mse")
        names |= {*vars(model), *vars(model).get("_modules", {})}
    return frozenset(names)


def _replace(value: Any, replaced: Mapping[int, keras.layers.Layer | None]) -> Any:
    """`value` with old layers replaced by new ones, in nested containers too."""

    def replace(held: Any) -> Any:
        if isinstance(held, keras.layers.Layer):
            return replaced.get(id(held), held)
        if isinstance(held, tuple):  # in TensorFlow's wrapper, which no tree knows
            items = [_replace(part, replaced) for part in held]
            return held._make(items) if hasattr(held, "_make") else tuple(items)
        if isinstance(held, set | frozenset):
            return type(held)(map(replace, held))
        if not dataclasses.is_dataclass(held) or isinstance(held, type):
            return held
        new = copy.copy(held)
        for name, part in vars(held).items():
            object.__setattr__(new, name, _replace(part, replaced))  # frozen ones too
        return new

    return keras.tree.map_structure(replace, value)
