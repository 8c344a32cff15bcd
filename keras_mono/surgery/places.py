"""Which layers of a model another can be inserted after, and how they are named."""

import difflib
import fnmatch
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import keras

from keras_mono._internal.keras_private import call_of
from keras_mono._internal.model_layers import (
    is_monosemantic_layer,
    layer_paths,
    named_layers,
)
from keras_mono._internal.typing import Tensor

Where = (
    str
    | re.Pattern[str]
    | type[keras.layers.Layer]
    | Callable[[keras.layers.Layer], bool]
    | Sequence[Any]
)
_LISTED = 40  # candidates in an error at most


class Place(NamedTuple):
    """A layer, or an operation such as the addition in `x + residual`, in a graph.

    `path` joins the names from the model to it.
    """

    path: str
    layer: Any

    @property
    def is_layer(self) -> bool:
        return isinstance(self.layer, keras.layers.Layer)


def is_graph(model: Any) -> bool:
    """Whether `model` is a Functional or Sequential model that runs its graph."""
    return _has_graph(model) and _calls_graph(model)


def operations(graph: keras.Model) -> list[Any]:
    """Layers and other operations that a graph calls directly."""
    return list(getattr(graph, "operations", graph.layers))


def input_name(x: Tensor) -> str:
    """Name of a model's input, which a rebuilt model keeps."""
    return str(call_of(x).operation.name)


def named_inputs(graph: keras.Model) -> dict[str, Tensor]:
    """The inputs of a graph by name; none before it is built."""
    return {input_name(x): x for x in getattr(graph, "inputs", None) or []}


def output_shape(layer: keras.layers.Layer) -> tuple[int | None, ...] | None:
    """The shape of a layer's output; None if it is not built or has several."""
    try:
        return tuple(layer.output.shape)
    except (AttributeError, ValueError):
        return None


def outputs_in_list(
    graph: keras.Sequential, layer: keras.layers.Layer
) -> list[Tensor] | None:
    """What a layer puts out in a Sequential model; None if that is not known yet.

    Before the Sequential model is built, nested models know it.
    """
    tensors = getattr(graph, "outputs", None)  # missing before it is built
    while tensors:
        call = call_of(tensors[0])
        if call.operation is layer:
            return list(call.outputs)
        tensors = call.input_tensors
    return getattr(layer, "outputs", None)


_INSERT = (
    "Call the layer there yourself: "
    "`self.inhibition = km.layers.MonosemanticInhibition()` in `__init__`, "
    "`x = self.inhibition(x, training=training)` in `call`."
)


def check_graph(model: Any, advice: str = _INSERT) -> None:
    """Raise a `ValueError` for a model without a graph."""
    if is_graph(model):
        return
    held = [name for name, x in named_layers(model).items() if is_graph(x)]
    parts = (
        f" It holds models that do: {_some(held)}; pass one of them, and put the "
        "result in its place before the model is first called."
        if held
        else ""
    )
    own = " of its own beside its graph" if _has_graph(model) else ""
    raise ValueError(
        "Expected a Functional or Sequential model, whose layers form a graph. "
        f"Received: '{model.name}' of type {type(model).__name__}, whose `call`{own} "
        f"is Python code that cannot be rebuilt.{parts} {advice}"
    )


def places(model: keras.Model) -> list[Place]:
    """All places in `model` and in nested models, in their order."""
    check_graph(model)
    return list(_walk(model, "", set()))


def matching(model: keras.Model, where: Where, exclude: Where | None) -> list[Place]:
    """The places that match `where` and not `exclude`, in the model's order.

    Layers of this library never match.
    """
    candidates = [p for p in places(model) if not is_monosemantic_layer(p.layer)]
    chosen = _meant(model, candidates, where, "where")
    if exclude is not None:
        chosen -= _meant(model, candidates, exclude, "exclude")
        if not chosen:
            raise ValueError(
                f"`exclude` leaves nothing of what `where` means. Received: "
                f"where={where!r}, exclude={exclude!r}."
            )
    return [p for p in candidates if p.path in chosen]


def _has_graph(model: Any) -> bool:
    return isinstance(model, keras.Sequential | _functional_class())


def _calls_graph(model: Any) -> bool:
    """False for a class whose own `call` does not use the graph's."""
    call = type(model).call
    if call in (keras.Sequential.call, _functional_class().call):
        return True
    code = getattr(inspect.unwrap(call), "__code__", None)
    return code is not None and "super" in code.co_names


@cache
def _functional_class() -> Any:
    x = keras.Input((1,))
    return type(keras.Model(x, x))


def _walk(graph: keras.Model, prefix: str, seen: set[int]) -> Iterator[Place]:
    for layer in operations(graph):
        if id(layer) in seen or isinstance(layer, keras.layers.InputLayer):
            continue
        seen.add(id(layer))
        path = prefix + layer.name
        yield Place(path, layer)
        if is_graph(layer):
            yield from _walk(layer, f"{path}/", seen)


def _meant(
    model: keras.Model, candidates: list[Place], where: Where, argument: str
) -> set[str]:
    """Paths of the candidates that match `where`; each of its parts must match."""
    parts = list(where) if isinstance(where, list | tuple | set) else [where]
    if not parts:
        raise ValueError(f"`{argument}` is empty. {_listed(candidates)}")
    paths: set[str] = set()
    for part in parts:
        found = _found(part, [p for p in candidates if p.is_layer])
        if not found and isinstance(part, str | re.Pattern):
            found = _found(part, candidates)
        if not found:
            _raise_no_match(model, candidates, part, argument)
        paths |= found
    return paths


def _found(part: Any, candidates: list[Place]) -> set[str]:
    return {p.path for p in candidates if _means(part, p)}


def _means(part: Any, place: Place) -> bool:
    names = (place.layer.name, place.path)
    if isinstance(part, str):
        return part in names or any(fnmatch.fnmatchcase(n, part) for n in names)
    if isinstance(part, re.Pattern):
        return any(part.fullmatch(name) for name in names)
    if isinstance(part, type):
        return isinstance(place.layer, part)
    if callable(part) and not isinstance(part, keras.layers.Layer):
        return bool(part(place.layer))
    raise ValueError(
        "A layer is described by its name or a glob (str), a compiled regular "
        "expression, a layer class, a function of the layer that returns a bool, or a "
        f"list of these. Received: {part!r} of type {type(part).__name__}."
    )


def _raise_no_match(
    model: keras.Model, candidates: list[Place], part: Any, argument: str
) -> None:
    hidden = [
        Place("/".join(path), layer)
        for path, layer in layer_paths(model)
        if not is_monosemantic_layer(layer)
        and all(layer is not p.layer for p in candidates)
    ]
    inside = sorted(_found(part, hidden))
    if inside:
        raise ValueError(
            f"`{argument}` names layers inside a block, which the model's graph "
            f"cannot see: {_some(inside)}. Received: {argument}={part!r}. Name the "
            "block itself, or build the block with the layer inside: a Dense takes one "
            "as its activation, `activation=keras.Sequential([keras.layers."
            "Activation('gelu'), km.layers.MonosemanticPenalty()])`. "
            f"{_listed(candidates)}"
        )
    close = []
    if isinstance(part, str):
        known = [name for p in candidates for name in (p.layer.name, p.path)]
        close = list(dict.fromkeys(difflib.get_close_matches(part, known)))
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise ValueError(
        f"`{argument}` matches no layer of model '{model.name}'. Received: "
        f"{argument}={part!r}.{hint} {_listed(candidates)}"
    )


def _listed(candidates: list[Place]) -> str:
    others = [p.path for p in candidates if not p.is_layer]
    listed = f"Its layers: {_some([p.path for p in candidates if p.is_layer])}."
    return f"{listed} Its operations: {_some(others)}." if others else listed


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
