"""The layers of any model, by name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_mono._internal.keras_private import sublayers
from keras_mono.backend.listeners import listeners_of


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """All layers inside `model`, nested ones too, by unique names; without inputs.

    The key is the layer's name. Where several layers share a name, it is the path from
    the model to the layer, such as `encoder/dense`. Where layers of one parent share a
    name, they are numbered in their order: `block_0/dense`, `block_1/dense`.
    """
    if hasattr(model, "adapted_layers"):  # a PyTorch module, see `as_model`
        return dict(model.adapted_layers())
    found = layer_paths(model)
    times = Counter(layer.name for _, layer in found)
    times.update(path[-1] for path, layer in found if path[-1] != layer.name)
    return {
        layer.name if times[layer.name] == 1 else "/".join(path): layer
        for path, layer in found
    }


def layer_paths(
    model: keras.Model,
) -> list[tuple[tuple[str, ...], keras.layers.Layer]]:
    """All layers inside `model` but inputs, with the names on the path to each.

    Paths are unique: see `named_layers`.
    """
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(
            f"Expected a Keras model. Received: {model!r}, a {type(model).__name__}."
        )
    return list(_walk(model, (), {id(model)}))


def is_monosemantic_layer(layer: Any) -> bool:
    """Whether `layer` is one of this library's layers."""
    return listeners_of(layer) is not None


def check_is_monosemantic(layer: Any) -> None:
    if not is_monosemantic_layer(layer):
        raise ValueError(
            "`layer` must be a layer of this library, such as "
            f"`km.layers.MonosemanticInhibition()`. Received: layer={layer!r}."
        )


def monosemantic_layers(model: Any) -> dict[str, Any]:
    """This library's layers inside `model`, by the names of `named_layers`."""
    found = named_layers(model).items()
    return {name: layer for name, layer in found if is_monosemantic_layer(layer)}


def some_monosemantic_layers(model: Any) -> list[Any]:
    """This library's layers inside `model`, or `model` itself; an error without any."""
    held = monosemantic_layers(model).values()
    layers = [model] if is_monosemantic_layer(model) else [*held]
    if not layers:
        raise ValueError(
            f"Model '{model.name}' has no layer of this library. Put one in, for "
            "example with `km.insert_after`, into a PyTorch module with "
            "`keras_mono.torch.Adapter`."
        )
    return layers


def find_layers(
    model: keras.Model, names: Sequence[str]
) -> dict[str, keras.layers.Layer]:
    """The layers of `model` with these names, or an error that lists all names."""
    names = [names] if isinstance(names, str) else list(names or [])
    available = named_layers(model)
    unknown = [name for name in names if name not in available]
    if unknown or not names:
        raise ValueError(
            f"Expected names of layers of model '{model.name}'. Received: {names}, of "
            f"which it has no {unknown or 'layer to watch'}. It has: "
            f"{sorted(available)}."
        )
    return {name: available[name] for name in names}


def _walk(
    parent: Any, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], keras.layers.Layer]]:
    new = {id(child): child for child in sublayers(parent) if id(child) not in seen}
    children = [x for x in new.values() if not isinstance(x, keras.layers.InputLayer)]
    names = _told_apart([child.name for child in children])
    for name, child in zip(names, children, strict=True):
        if id(child) in seen:  # inside a child before it
            continue
        seen.add(id(child))
        below = (*path, name)
        yield below, child
        yield from _walk(child, below, seen)


def _told_apart(names: list[str]) -> list[str]:
    """The names, with numbers appended to those that occur more than once."""
    times, taken = Counter(names), set(names)
    numbers: Counter[str] = Counter()
    told = []
    for name in names:
        numbered = name
        while times[name] > 1 and numbered in taken:
            numbered = f"{name}_{numbers[name]}"
            numbers[name] += 1
        taken.add(numbered)
        told.append(numbered)
    return told
