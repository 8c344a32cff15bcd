"""Which tensors of a graph have the same positions as a mask among its inputs.

Most lengths in a graph are unknown. So the shapes are computed again with chosen
lengths, different ones for inputs that do not belong together. A tensor that is then as
long as the mask has its positions.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras

from keras_mono._internal.keras_private import calls_in_order
from keras_mono._internal.typing import Tensor
from keras_mono.surgery.places import named_inputs

Shapes = dict[str, tuple[int | None, ...]]  # by the input's name
Scale = tuple[tuple[int, int], tuple[int, int]]
Trial = dict[int, Tensor]  # by the tensor's id, a symbolic tensor of known lengths
_ENDING = "padding_mask"  # KerasHub's names: padding_mask, encoder_padding_mask, ...
_TOKENS = "token_ids"
# First length and step of tokens, and of other inputs.
_SCALES: tuple[Scale, ...] = (
    ((7, 1), (7, 1)),  # for embedded positions, which have a largest length
    ((67, 2), (67, 2)),  # for convolutions
    ((7, 1), (4099, 102)),  # for many strides, such as from sound to tokens
)
_WIDTH = 32  # of unknown axes after the second, such as those of images


def marking_inputs(shapes: Iterable[str]) -> list[str]:
    return [name for name in shapes if name.endswith(_ENDING)]


def fits(mask: tuple[int | None, ...], outputs: tuple[int | None, ...]) -> bool:
    """Whether `mask` may have one entry for each position of `outputs`."""
    return len(outputs) > len(mask) and all(
        a is None or b is None or a == b for a, b in zip(mask, outputs, strict=False)
    )


class Mask(NamedTuple):
    like: Tensor  # of the graph, with the positions that the mask has
    shape: tuple[int | None, ...]
    marks: set[str]  # names of the inputs that it masks; empty if that is unknown


class Positions:
    """What the tensors of a graph depend on, and how long they are.

    Attributes:
        masks: By name, the inputs that are masks, and what `add` adds.
    """

    def __init__(self, graph: keras.Model, masks: list[str]) -> None:
        self._inputs = named_inputs(graph)
        self._shapes: Shapes = {n: tuple(x.shape) for n, x in self._inputs.items()}
        self.masks: dict[str, Mask] = {}
        for name in masks:
            marks = _marked(name, masks, self._shapes)
            self.masks[name] = Mask(self._inputs[name], self._shapes[name], marks)
        self._calls = calls_in_order(graph)
        self._sources = {id(x): frozenset([n]) for n, x in self._inputs.items()}
        for call in self._calls:
            sources = self._sources_of(call)
            self._sources |= {id(x): sources for x in call.outputs}
        self._trials = self._some_trials()

    def add(self, name: str, like: Tensor, shape: tuple[int | None, ...]) -> None:
        """Add a mask that is computed in the graph."""
        self.masks[name] = Mask(like, shape, {*self._sources[id(like)]})

    def depends(self, x: Tensor, name: str) -> bool:
        """Whether `x` depends on an input that the mask masks; True if unknown."""
        marks = self.masks[name].marks
        return not marks or not marks.isdisjoint(self._sources[id(x)])

    def has_positions_of(self, x: Tensor, name: str) -> bool | None:
        """Whether the mask has an entry for each position of `x`; None: unknown."""
        mask, sources = self.masks[name], self._sources[id(x)]
        if not fits(mask.shape, x.shape):
            return False
        if not mask.marks:
            return None
        others = {*sources} - mask.marks - {*self.masks}
        others |= {n for n, m in self.masks.items() if n != name and m.marks & sources}
        found = self._is_as_long_as(x, mask, others)
        if found is None and not others and _may_vary_alike(mask.like, x):
            return True  # no other input could have given it its length
        return found

    def _is_as_long_as(self, x: Tensor, mask: Mask, others: set[str]) -> bool | None:
        """Whether `x` is as long as the mask for any lengths of the inputs.

        None if this is unknown, or if one of the `others` is as long as the mask too.
        """
        verdicts = []
        for trial in self._trials:
            wanted, found = (
                trial[id(t)].shape[1 : len(mask.shape)] for t in (mask.like, x)
            )
            lengths = [trial[id(self._inputs[name])].shape[1:2] for name in others]
            if None in (*wanted, *found) or wanted[:1] in lengths:
                return None
            verdicts.append(wanted == found)
        if not verdicts or not (all(verdicts) or _may_vary_alike(mask.like, x)):
            return None  # fixed where it may vary: some layers give a wrong shape
        return all(verdicts)

    def _sources_of(self, call: Any) -> frozenset[str]:
        return frozenset[str]().union(
            *(self._sources[id(x)] for x in call.input_tensors)
        )

    def _some_trials(self) -> list[Trial]:
        """Up to two sets of lengths with which the graph can be computed.

        A mask and its inputs share a length; other inputs have their own. Inputs that a
        call needs equally long are joined, those of a mask also in its `marks`.
        """
        groups = [{name, *mask.marks} for name, mask in self.masks.items()]
        found: list[Trial] = []
        for scale in _SCALES:
            trial, joined = self._tried(groups, scale)
            if trial is not None:
                found.append(trial)
                groups = joined
            if len(found) == 2:
                break
        for name, mask in self.masks.items():
            mask.marks.update(next(g for g in groups if name in g) - {*self.masks})
        return found

    def _tried(
        self, groups: list[set[str]], scale: Scale
    ) -> tuple[Trial | None, list[set[str]]]:
        """Shapes with one length for the inputs of a group, and the groups it took."""
        while True:
            sizes = _lengths(self._shapes, groups, scale)
            trial = {id(x): _sized(x, sizes[name]) for name, x in self._inputs.items()}
            failed = _compute(self._calls, trial)
            if failed is None:
                return trial, groups
            of_any_length = {
                name
                for name in self._sources_of(failed)
                if self._shapes[name][1:2] == (None,)
            }
            if len(of_any_length) < 2 or any(of_any_length <= g for g in groups):
                return None, groups
            groups = _merged([*groups, of_any_length])


def _compute(calls: list[Any], trial: Trial) -> Any | None:
    """Add the outputs of the calls to `trial`; the first that failed, if any."""
    for call in calls:
        args, kwargs = call.arguments.fill_in(trial)
        try:
            specs = call.operation.compute_output_spec(*args, **kwargs)
            specs = keras.tree.flatten(specs)
            trial.update(zip(map(id, call.outputs), specs, strict=True))
        except Exception:  # whatever a layer raises: not with these shapes
            return call
    return None


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
    named = {name for name in others if stem and name.startswith(stem)}
    if named:
        return {n for n in named if len(shapes[n]) == len(shapes[mask])} or named
    if mask in marking and _TOKENS in others:
        return {_TOKENS}
    if len(masks) > 1:
        return set()
    alike = {name for name in others if len(shapes[name]) == len(shapes[mask])}
    found = alike or ({*others} if len(others) == 1 else set())
    return found if mask in marking else {mask, *found}


def _lengths(shapes: Shapes, groups: list[set[str]], scale: Scale) -> dict[str, int]:
    """One length for the inputs of a group, different ones for the groups."""
    lengths: dict[str, int] = {}
    for i, group in enumerate(_merged([*groups, *({name} for name in shapes)])):
        known = {n for name in group for n in shapes[name][1:2] if n is not None}
        is_tokens = all(len(shapes[name]) == 2 for name in group)
        first, step = scale[0] if is_tokens else scale[1]
        lengths |= dict.fromkeys(group, min(known, default=first + step * i))
    return lengths


def _merged(groups: list[set[str]]) -> list[set[str]]:
    merged: list[set[str]] = []
    for group in groups:
        apart = [g for g in merged if g.isdisjoint(group)]
        touched = [g for g in merged if not g.isdisjoint(group)]
        merged = [*apart, group.union(*touched)]
    return merged


def _sized(x: Tensor, length: int) -> Tensor:
    """A tensor like `x` whose lengths are all known."""
    free = (2, length, *[_WIDTH] * len(x.shape))
    shape = [f if n is None else n for n, f in zip(x.shape, free, strict=False)]
    return keras.KerasTensor(shape, dtype=x.dtype, sparse=x.sparse, name=x.name)
