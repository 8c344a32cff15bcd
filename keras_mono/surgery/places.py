"""Which layers of a model can be followed, and which of them a description means."""

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import keras

from keras_mono._layers import layer_paths
from keras_mono.layers.running_statistics import RunningStatistics

Where = (
    str
    | re.Pattern[str]
    | type[keras.layers.Layer]
    | Callable[[keras.layers.Layer], bool]
    | Sequence[Any]
)
_LISTED = 40  # most candidates that an error names


class Place(NamedTuple):
    """A layer that some graph calls; `path` joins the names from the model to it."""

    path: str
    layer: keras.layers.Layer


def is_graph(model: Any) -> bool:
    """Whether `model` shows which layer feeds which: Functional or Sequential."""
    return isinstance(model, keras.Sequential | _functional_class())


def is_ours(layer: Any) -> bool:
    return isinstance(layer, RunningStatistics)


def check_graph(model: Any) -> None:
    """Raise a `ValueError` for what has no graph to change."""
    if is_graph(model):
        return
    kind = type(model).__name__
    if isinstance(model, keras.layers.Layer):
        raise ValueError(
            "Expected a Functional or Sequential model, whose layers form a graph. "
            f"Received: '{model.name}' of type {kind}, whose `call` is Python code "
            "that cannot be rebuilt. Call the layer there yourself: "
            "`self.inhibition = km.layers.MonosemanticInhibition()` in `__init__`, "
            "`x = self.inhibition(x, training=training)` in `call`."
        )
    raise ValueError(f"Expected a Keras model. Received: {model!r} of type {kind}.")


def places(model: keras.Model) -> list[Place]:
    """Every layer that a graph in `model` calls, nested models' too, in their order."""
    check_graph(model)
    return list(_walk(model, "", set()))


def matching(model: keras.Model, where: Where, exclude: Where | None) -> list[Place]:
    """The places that `where` means and `exclude` does not, in the model's order.

    Layers of this library are never meant.
    """
    candidates = [p for p in places(model) if not is_ours(p.layer)]
    chosen = _meant(model, candidates, where, "where")
    if exclude is not None:
        chosen -= _meant(model, candidates, exclude, "exclude")
        if not chosen:
            raise ValueError(
                f"`exclude` leaves nothing of what `where` means. Received: "
                f"where={where!r}, exclude={exclude!r}."
            )
    return [p for p in candidates if p.path in chosen]


@cache
def _functional_class() -> type:
    x = keras.Input((1,))
    return type(keras.Model(x, x))


def _walk(graph: keras.Model, prefix: str, seen: set[int]) -> Iterator[Place]:
    for layer in graph.layers:
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
    """Paths of the candidates that `where` means; each of its parts must mean one."""
    parts = list(where) if isinstance(where, list | tuple | set) else [where]
    if not parts:
        raise ValueError(f"`{argument}` is empty. {_listed(candidates)}")
    paths: set[str] = set()
    for part in parts:
        found = {p.path for p in candidates if _means(part, p, candidates)}
        if not found:
            _raise_no_match(model, candidates, part, argument)
        paths |= found
    return paths


def _means(part: Any, place: Place, candidates: list[Place]) -> bool:
    names = (place.layer.name, place.path)
    if isinstance(part, str):
        if any(part in (p.layer.name, p.path) for p in candidates):
            return part in names
        return any(fnmatch.fnmatchcase(name, part) for name in names)
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
        if not is_ours(layer) and all(layer is not p.layer for p in candidates)
    ]
    inside = [p.path for p in hidden if _means(part, p, hidden)]
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
    return f"Its layers: {_some([p.path for p in candidates])}."


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
