"""Which tensors of a graph have the same positions as a mask among its inputs.

Most lengths in a graph are unknown. So the shapes are computed again with chosen
lengths, different ones for inputs that do not belong together. A tensor that is then as
long as the mask has its positions.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_mono._internal.typing import Tensor

Shapes = dict[str, tuple[int | None, ...]]  # by the input's name
_ENDING = "padding_mask"  # KerasHub's names: padding_mask, encoder_padding_mask, ...
_TOKENS = "token_ids"
_WIDTH = 32  # of unknown axes after the second, such as those of images


def marking_inputs(shapes: Iterable[str]) -> list[str]:
    return [name for name in shapes if name.endswith(_ENDING)]


def fits(mask: tuple[int | None, ...], outputs: tuple[int | None, ...]) -> bool:
    """Whether `mask` may have one entry for each position of `outputs`."""
    return len(outputs) > len(mask) and all(
        a is None or b is None or a == b for a, b in zip(mask, outputs, strict=False)
    )


class Positions:
    """Follows a graph from call to call.

    Attributes:
        marks: Name of a mask to the inputs that it masks; empty if that is unknown.
    """

    def __init__(
        self, graph: keras.Model, inputs: dict[str, Tensor], masks: list[str]
    ) -> None:
        shapes = {name: tuple(x.shape) for name, x in inputs.items()}
        self.marks = {mask: _marked(mask, masks, shapes) for mask in masks}
        trials = _trials(graph, shapes, self.marks)
        self._inputs = inputs
        self._seen: list[Tensor] = list(inputs.values())  # so that no id is used twice
        self._sources = {id(x): frozenset([name]) for name, x in inputs.items()}
        self._trials: list[dict[int, Tensor | None]] = [
            {id(x): _spec(x, trial[name]) for name, x in inputs.items()}
            for trial in trials
        ]

    def follow(
        self, operation: Any, args: tuple[Any, ...], kwargs: Any, outputs: Any
    ) -> None:
        given = [x for x in keras.tree.flatten((args, kwargs)) if _is_symbolic(x)]
        sources = frozenset[str]().union(*(self.sources(x) for x in given))
        found = [x for x in keras.tree.flatten(outputs) if _is_symbolic(x)]
        self._seen += found
        for x in found:
            self._sources[id(x)] = sources
        for trial in self._trials:
            specs = _computed(operation, args, kwargs, trial)
            specs = specs if len(specs) == len(found) else [None] * len(found)
            trial.update(zip(map(id, found), specs, strict=True))

    def same(self, new: Tensor, old: Tensor) -> None:
        """Note that an inserted layer turned `old` into `new`."""
        self._seen.append(new)
        self._sources[id(new)] = self.sources(old)
        for trial in self._trials:
            trial[id(new)] = trial.get(id(old))

    def sources(self, x: Tensor) -> frozenset[str]:
        """Names of the inputs that `x` depends on."""
        return self._sources.get(id(x), frozenset())

    def depends(self, x: Tensor, mask: str) -> bool:
        """Whether `x` depends on an input that the mask masks; True if unknown."""
        return not self.marks[mask] or bool(self.sources(x) & self.marks[mask])

    def has_positions_of(self, x: Tensor, mask: str) -> bool | None:
        """Whether the input `mask` has an entry for each position; None: unknown."""
        marker = self._inputs[mask]
        if not fits(marker.shape, x.shape):
            return False
        if not self.marks[mask]:
            return None
        others = self.sources(x) - self.marks[mask] - {*self.marks}
        others |= {m for m in self.marks if m != mask and self._depends_beside(x, m)}
        rank = len(marker.shape)
        found = self.is_as_long_as(x, marker, rank, others)
        if found is None and not others and _may_vary_alike(marker, x):
            return True  # no other input could have given it its length
        return found

    def is_as_long_as(
        self, x: Tensor, like: Tensor, rank: int, others: Iterable[str] = ()
    ) -> bool | None:
        """Whether `x` and `like` agree in their first `rank` axes for any lengths.

        None if this is unknown, or if one of the `others` is as long as `like` too.
        """
        verdicts = []
        for trial in self._trials:
            a, b = trial.get(id(like)), trial.get(id(x))
            if a is None or b is None:
                return None
            wanted, found = a.shape[1:rank], b.shape[1:rank]
            specs = [trial[id(self._inputs[name])] for name in others]
            lengths = [spec.shape[1:2] for spec in specs if spec is not None]
            if None in (*wanted, *found) or wanted[:1] in lengths:
                return None
            verdicts.append(wanted == found)
        if not verdicts or not (all(verdicts) or _may_vary_alike(like, x)):
            return None  # fixed where it may vary: some layers give a wrong shape
        return all(verdicts)

    def _depends_beside(self, x: Tensor, mask: str) -> bool:
        return self.depends(x, mask) and bool(self.marks[mask])


def _may_vary_alike(like: Tensor, x: Tensor) -> bool:
    """Whether all axes that vary in `like` vary in `x` too."""
    pairs = zip(like.shape[1:], x.shape[1:], strict=False)
    return all(a is not None or b is None for a, b in pairs)


def _marked(mask: str, masks: list[str], shapes: Shapes) -> set[str]:
    """The inputs that a mask masks: by their names, or else by their shapes."""
    marking = marking_inputs(shapes)
    stem = mask.removesuffix(_ENDING) if mask in marking else ""
    rivals = [m.removesuffix(_ENDING) for m in marking if m != mask]
    others = [
        name
        for name, shape in shapes.items()
        if name not in (mask, *marking)
        and not any(r and name.startswith(r) for r in rivals)
        and (shape == shapes[mask] or fits(shapes[mask], shape))
    ]
    itself = set() if mask in marking else {mask}
    named = {name for name in others if stem and name.startswith(stem)}
    if named:
        return {n for n in named if len(shapes[n]) == len(shapes[mask])} or named
    if mask in marking and _TOKENS in others:
        return {_TOKENS}
    if any(not _names_its_own(m, shapes) for m in masks if m != mask):
        return itself
    alike = {name for name in others if len(shapes[name]) == len(shapes[mask])}
    if alike or len(others) == 1:
        return itself | (alike or {*others})
    return itself


def _names_its_own(mask: str, shapes: Shapes) -> bool:
    """Whether the mask's name says which inputs it masks."""
    stem = mask.removesuffix(_ENDING)
    others = [name for name in shapes if name not in marking_inputs(shapes)]
    if not stem:
        return _TOKENS in others
    return any(name.startswith(stem) for name in others)


def _trials(
    graph: keras.Model, shapes: Shapes, marks: dict[str, set[str]]
) -> list[Shapes]:
    """At most two sets of input shapes with which the graph can be computed.

    A mask and its inputs share a length; all other inputs have their own. If the graph
    needs more inputs of the mask's length, they are added to `marks`.
    """
    groups = [{mask, *marked} for mask, marked in marks.items()]
    found = _working(graph, shapes, groups)
    if found or len(marks) != 1:
        return found
    [(mask, marked)] = marks.items()
    alike = {n for n in shapes if shapes[n][1:2] == shapes[mask][1:2]}
    if not _working(graph, shapes, [alike]):
        return []
    joined = alike - _separable(graph, shapes, alike, {mask, *marked})
    marked |= joined - {mask}
    return _working(graph, shapes, [joined, alike - joined])


def _separable(
    graph: keras.Model, shapes: Shapes, alike: set[str], marked: set[str]
) -> set[str]:
    """Inputs that may have another length than the masked ones."""
    others = sorted(alike - marked)
    sizes = range(1, len(others) + 1) if len(others) <= 4 else (1, len(others))
    apart: set[str] = set()
    for size in sizes:
        for some in itertools.combinations(others, size):
            if not apart.issuperset(some) and _working(
                graph, shapes, [alike - {*some}, {*some}]
            ):
                apart |= {*some}
    return apart


def _working(
    graph: keras.Model, shapes: Shapes, groups: list[set[str]]
) -> list[Shapes]:
    """Up to two sets of shapes that work, with one length for the inputs of a group."""
    found: list[Shapes] = []
    for length in (_short, _middle, _long):
        lengths = _lengths(shapes, groups, length)
        trial = {n: _sized(shape, lengths[n]) for n, shape in shapes.items()}
        if len(found) < 2 and _computes(graph, trial):
            found.append(trial)
    return found


def _lengths(
    shapes: Shapes,
    groups: list[set[str]],
    length: Callable[[int, bool, bool], int],
) -> dict[str, int]:
    together = {name for group in groups for name in group}
    lengths: dict[str, int] = {}
    for i, group in enumerate(_merged([*groups, *({name} for name in shapes)])):
        fixed = {n for name in group for n in shapes[name][1:2] if n is not None}
        tokens = all(len(shapes[name]) == 2 for name in group)
        own = length(i, not group.isdisjoint(together), tokens)
        lengths |= dict.fromkeys(group, min(fixed, default=own))
    return lengths


def _merged(groups: list[set[str]]) -> list[set[str]]:
    merged: list[set[str]] = []
    for group in groups:
        apart = [g for g in merged if g.isdisjoint(group)]
        touched = [g for g in merged if not g.isdisjoint(group)]
        merged = [*apart, group.union(*touched)]
    return merged


def _short(i: int, is_marked: bool, is_tokens: bool) -> int:  # noqa: ARG001
    """For embedded positions, which have a largest length."""
    return 7 + i if is_marked else max(6 - i, 2)


def _middle(i: int, is_marked: bool, is_tokens: bool) -> int:  # noqa: ARG001
    """For convolutions."""
    return 67 + 2 * i if is_marked else 97 + 4 * i


def _long(i: int, is_marked: bool, is_tokens: bool) -> int:
    """For many strides, such as from sound to tokens."""
    return _short(i, is_marked, is_tokens) if is_tokens else 4099 + 102 * i


def _sized(shape: tuple[int | None, ...], length: int) -> tuple[int | None, ...]:
    free = (2, length, *[_WIDTH] * len(shape))
    return tuple(f if n is None else n for n, f in zip(shape, free, strict=False))


def _computes(graph: keras.Model, trial: Shapes) -> bool:
    given = keras.tree.flatten(graph.input)  # in the order of the trial's shapes
    specs = [_spec(x, shape) for x, shape in zip(given, trial.values(), strict=True)]
    inputs = keras.tree.pack_sequence_as(graph.input, specs)
    try:
        graph.compute_output_spec(inputs)
    except Exception:  # whatever a layer raises: not with these shapes
        return False
    return True


def _computed(operation: Any, args: Any, kwargs: Any, trial: Any) -> list[Any]:
    """The outputs of a call as symbolic tensors; empty if shapes are unknown."""

    def spec(x: Any) -> Any:
        return trial[id(x)] if _is_symbolic(x) else x

    given = keras.tree.flatten((args, kwargs))
    if any(_is_symbolic(x) and trial.get(id(x)) is None for x in given):
        return []
    args, kwargs = keras.tree.map_structure(spec, (args, kwargs))
    try:
        return keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
    except Exception:  # as above
        return []


def _spec(x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    return keras.KerasTensor(shape, dtype=x.dtype, sparse=x.sparse, name=x.name)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)
