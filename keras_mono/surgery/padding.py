"""Finding the mask for each inserted layer, or an error where padding would count.

KerasHub models take the padding mask as a model input, not as a Keras mask. So an
inserted layer does not get it from Keras.
"""

from typing import Any, NamedTuple

import keras

from keras_mono._internal.keras_private import mask_of
from keras_mono._internal.typing import Tensor
from keras_mono.surgery.places import operations, places
from keras_mono.surgery.positions import Positions, fits, marking_inputs
from keras_mono.surgery.rebuild import Call, input_name


def check_mask_argument(mask: Any, model: keras.Model) -> None:
    if mask is None or mask is False:
        return
    if not isinstance(mask, str):
        raise ValueError(
            "`mask` must be the name of the model input that marks padding, or of a "
            "layer whose mask is to hold, None to find the input, or False for none. "
            f"Received: mask={mask!r}."
        )
    found = places(model)
    graphs = [model, *(p.layer for p in found if isinstance(p.layer, keras.Model))]
    inputs = [name for graph in graphs for name in _input_names(graph)]
    if mask not in inputs and not any(mask in (p.path, p.layer.name) for p in found):
        raise ValueError(
            "`mask` must name an input of the model that marks padding, or a layer "
            f"with a mask. Received: mask={mask!r}. Inputs of '{model.name}': "
            f"{_input_names(model)}. Its layers: "
            f"{[p.path for p in found if p.is_layer]}."
        )


class _Unmasked(NamedTuple):
    path: str
    shape: tuple[int | None, ...] | None  # of the output, if known


class _Given(NamedTuple):
    """The output of the layer that `mask` names."""

    mask: Tensor
    outputs: Tensor


class Padding:
    """Follows the calls of a rebuilt model and finds the mask at each insertion."""

    def __init__(self, model: keras.Model, mask: str | bool | None) -> None:
        self._model = model
        self._mask = mask
        self._masking = {
            id(p.layer) for p in places(model) if mask in (p.path, p.layer.name)
        }
        self._positions: dict[
            int, Positions
        ] = {}  # this and the next two by the id of the graph
        self._given: dict[int, _Given] = {}
        self._nested: dict[int, list[_Unmasked]] = {}
        self._asked: list[str] = []
        self._marks: dict[str, None] = {}  # names of masks that cannot be passed
        # Paths with positions whose mask cannot be passed to them.
        self._lost: dict[str, None] = {}
        self._flat: dict[
            str, None
        ] = {}  # paths that depend on marked inputs and have no positions
        self._unclear: dict[
            str, list[str]
        ] = {}  # by path, the masks that may be its own
        self._is_used = False

    def follow(self, call: Call) -> None:
        """Note what the outputs of a call depend on."""
        if not self._concerns(call.graph):
            self.pass_on(call.graph, call.operation)
            return
        positions = self._positions_of(call)
        positions.follow(call.operation, call.args, call.kwargs, call.outputs)
        if id(call.operation) in self._masking:
            self._given[id(call.graph)] = _given(call.operation, call.outputs)
        for unmasked in self._nested.get(id(call.operation), []):
            self._judge_nested(call, unmasked)

    def mask_for(self, call: Call, x: Tensor, path: str) -> tuple[str, Tensor] | None:
        """Name and tensor of the mask for `x`, an output of the call."""
        self._asked.append(path)
        if self._mask is False:
            return None
        if not self._concerns(call.graph):
            self._note_nested(call.graph, x, path)
            return None
        if self._is_from_layer(call.graph):
            return self._from_layer(call, x, path)
        positions = self._positions_of(call)
        related = [n for n in self._names(call.graph) if positions.depends(x, n)]
        found = {name: positions.has_positions_of(x, name) for name in related}
        fitting = [n for n, holds in found.items() if holds or self._trusts(n, holds)]
        unclear = [n for n, holds in found.items() if holds is None]
        if len(fitting) == 1 and not set(unclear) - set(fitting):
            self._is_used = True
            return fitting[0], call.inputs[fitting[0]]
        if mask_of(x) is not None:
            return None
        if fitting or unclear:
            self._unclear[path] = [*fitting, *unclear]
        elif related:
            masks = {n: tuple(call.inputs[n].shape) for n in related}
            self._note_missing(_Unmasked(path, tuple(x.shape)), masks)
        else:
            self._note_nested(call.graph, x, path)
        return None

    def inserted(self, call: Call, old: Tensor, new: Tensor) -> None:
        if self._mask is not False and id(call.graph) in self._positions:
            self._positions[id(call.graph)].same(new, old)

    def pass_on(self, graph: keras.Model, layer: Any) -> None:
        """Leave masks that a nested model lacks to the model around it."""
        unmasked = self._nested.get(id(layer), [])
        self._nested.setdefault(id(graph), []).extend(unmasked)

    def in_list(self, graph: keras.Model, layer: keras.layers.Layer, path: str) -> None:
        """Note an insertion in a Sequential model, whose inputs cannot be passed on."""
        self._asked.append(path)
        try:
            shape = tuple(layer.output.shape)
        except (AttributeError, ValueError):  # not built, or several outputs
            shape = None
        self._nested.setdefault(id(graph), []).append(_Unmasked(path, shape))

    def check(self) -> None:
        """Raise an error if an inserted layer would count padding that is marked."""
        if self._unclear:
            names = sorted({n for found in self._unclear.values() for n in found})
            raise ValueError(
                f"Model '{self._model.name}' marks padding in {_quoted(names)}. "
                "Whether this is the padding of what these layers put out cannot be "
                f"told from its graph: {', '.join(self._unclear)}. If it is, insert "
                f"after them with `mask={names[0]!r}`, otherwise with `mask=False`, "
                "which counts every entry."
            )
        lost = [*self._lost]
        if not self._is_used:
            named = isinstance(self._mask, str)
            lost = lost or [*self._flat] or (self._asked if named else [])
        if not lost:
            return
        marks = [*self._marks] or [str(self._mask)]
        raise ValueError(
            f"Model '{self._model.name}' marks padding in {_quoted(marks)}, which "
            f"cannot be given to the layers after {', '.join(lost)}: they have no axis "
            "of its positions, come before it, or lie in a nested or Sequential model "
            "without it. Insert where the outputs have the shape (batch, length, ...) "
            "and it can be reached, name a layer that puts out a mask of the right "
            "length, `mask='NAME'`, or pass `mask=False` to count every entry. (A "
            "Sequential model hands no mask on but Keras': use "
            "`keras.Model(model.inputs, model.outputs)`.)"
        )

    def _names(self, graph: keras.Model) -> list[str]:
        """The inputs of the graph that may mark padding."""
        names = _input_names(graph)
        if isinstance(self._mask, str):
            return [self._mask] if self._mask in names else []
        return marking_inputs(names)

    def _is_from_layer(self, graph: keras.Model) -> bool:
        held = {id(x) for x in operations(graph)}
        return not self._names(graph) and not held.isdisjoint(self._masking)

    def _concerns(self, graph: keras.Model) -> bool:
        if self._mask is False:
            return False
        return bool(self._names(graph)) or self._is_from_layer(graph)

    def _positions_of(self, call: Call) -> Positions:
        key = id(call.graph)
        if key not in self._positions:
            names = _input_names(call.graph)
            masks = [n for n in names if n in {*marking_inputs(names), self._mask}]
            self._positions[key] = Positions(call.graph, call.inputs, masks)
        return self._positions[key]

    def _trusts(self, name: str, holds: bool | None) -> bool:
        """Whether an unclear mask is the one that the caller named."""
        return holds is None and name == self._mask

    def _from_layer(
        self, call: Call, x: Tensor, path: str
    ) -> tuple[str, Tensor] | None:
        given = self._given.get(id(call.graph))
        if given is not None:
            positions = self._positions_of(call)
            rank = len(given.mask.shape)
            related = positions.sources(x) & positions.sources(given.outputs)
            agree = fits(given.mask.shape, x.shape) and (
                positions.is_as_long_as(x, given.outputs, rank) is not False
            )
            if related and agree:
                self._is_used = True
                return str(self._mask), given.mask
        self._note_missing(_Unmasked(path, None), {str(self._mask): ()})
        return None

    def _note_nested(self, graph: keras.Model, x: Tensor, path: str) -> None:
        if mask_of(x) is None:
            unmasked = _Unmasked(path, tuple(x.shape))
            self._nested.setdefault(id(graph), []).append(unmasked)

    def _judge_nested(self, call: Call, unmasked: _Unmasked) -> None:
        """Whether a model around a layer marks padding that the layer cannot be given.

        It is told by the call of the nested model that holds the layer.
        """
        given = keras.tree.flatten((call.args, call.kwargs))
        if any(mask_of(x) is not None for x in given):
            return
        positions = self._positions_of(call)
        outputs = keras.tree.flatten(call.outputs)[0]
        if self._is_from_layer(call.graph):
            masks: dict[str, tuple[int | None, ...]] = {str(self._mask): ()}
        else:
            names = self._names(call.graph)
            related = [n for n in names if positions.depends(outputs, n)]
            masks = {n: tuple(call.inputs[n].shape) for n in related}
        if masks:
            self._note_missing(unmasked, masks)
        else:
            self._nested.setdefault(id(call.graph), []).append(unmasked)

    def _note_missing(
        self, unmasked: _Unmasked, masks: dict[str, tuple[int | None, ...]]
    ) -> None:
        self._marks |= dict.fromkeys(masks)
        shape = unmasked.shape
        flat = shape and all(len(shape) <= len(mask) for mask in masks.values())
        (self._flat if flat else self._lost)[unmasked.path] = None


def _input_names(graph: keras.Model) -> list[str]:
    inputs = getattr(graph, "inputs", None) or []  # missing before it is built
    return [input_name(x) for x in inputs]


def _given(operation: Any, outputs: Any) -> _Given:
    first = keras.tree.flatten(outputs)[0]
    mask = mask_of(first)
    if mask is None and len(first.shape) != 2:
        raise ValueError(
            f"`mask` names the layer '{operation.name}', which puts out neither a "
            "Keras mask nor a mask of shape (batch, length). Received: outputs of "
            f"shape {tuple(first.shape)}. Name an input of the model, an "
            "`Embedding(mask_zero=True)`, a `Masking` layer or the like."
        )
    return _Given(first if mask is None else mask, first)


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
