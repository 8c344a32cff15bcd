"""Finding the mask for each inserted layer, or an error where padding would count.

KerasHub models take the padding mask as a model input, not as a Keras mask. So an
inserted layer does not get it from Keras.
"""

from collections import defaultdict
from functools import cached_property

import keras

from keras_mono._internal.keras_private import mask_of
from keras_mono._internal.typing import Tensor
from keras_mono.surgery.places import named_inputs, output_shape, places
from keras_mono.surgery.positions import Positions, marking_inputs
from keras_mono.surgery.rebuild import Call


def _masking_layers(model: keras.Model, mask: str | bool | None) -> set[int]:
    """Ids of the layers that `mask` names; an error if it names nothing."""
    if mask is None or mask is False:
        return set()
    if not isinstance(mask, str):
        raise ValueError(
            "`mask` must be the name of the model input that marks padding, or of a "
            "layer whose mask is to hold, None to find the input, or False for none. "
            f"Received: mask={mask!r}."
        )
    found = places(model)
    graphs = [model, *(p.layer for p in found if isinstance(p.layer, keras.Model))]
    inputs = [name for graph in graphs for name in named_inputs(graph)]
    named = {id(p.layer) for p in found if mask in (p.path, p.layer.name)}
    if mask not in inputs and not named:
        raise ValueError(
            "`mask` must name an input of the model that marks padding, or a layer "
            f"with a mask. Received: mask={mask!r}. Inputs of '{model.name}': "
            f"{[*named_inputs(model)]}. Its layers: "
            f"{[p.path for p in found if p.is_layer]}."
        )
    return named


class Padding:
    """Finds the mask of each inserted layer while a model is rebuilt."""

    def __init__(self, model: keras.Model, mask: str | bool | None) -> None:
        self._model = model
        self._mask = mask
        self._masking = _masking_layers(model, mask)
        self._graphs: dict[int, _MarkedGraph] = {}
        # Paths in a nested model that marks no padding; a model around it may.
        self._open: defaultdict[int, list[str]] = defaultdict(list)
        # By path, the masks that cannot be given, and those that may be its own.
        self._lost: dict[str, list[str]] = {}
        self._unclear: dict[str, list[str]] = {}
        # And of (batch, units), which may be pooled or hold padding side by side.
        self._flat: dict[str, list[str]] = {}
        self._is_used = False

    def follow(self, call: Call) -> None:
        """Note what the call masks, and judge what a nested model left open."""
        if self._mask is False:
            return
        graph = self._marked(call.graph)
        if id(call.operation) in self._masking:
            graph.take_mask(str(self._mask), call)
        is_masked = any(mask_of(x) is not None for x in call.arguments)
        for path in [] if is_masked else self._open[id(call.operation)]:
            self._miss(call.graph, path, graph.related(call.old_outputs[0]))

    def mask_for(self, call: Call, number: int, path: str) -> tuple[str, Tensor] | None:
        """Name and tensor of the mask for an output of the call."""
        if self._mask is False:
            return None
        graph, x = self._marked(call.graph), call.old_outputs[number]
        related = graph.related(x)
        found = {name: graph.positions.has_positions_of(x, name) for name in related}
        unclear = [n for n, holds in found.items() if holds is None]
        fitting = [n for n in found if found[n] or (n in unclear and n == self._mask)]
        if len(fitting) == 1 and not {*unclear} - {*fitting}:
            self._is_used = True
            return fitting[0], graph.tensor(fitting[0], call)
        if mask_of(call.outputs[number]) is not None:
            return None
        if fitting or unclear:
            self._unclear[path] = [*fitting, *unclear]
        elif len(x.shape) > 2:
            self._miss(call.graph, path, related)
        elif related:
            self._flat[path] = related
        return None

    def in_list(
        self, graph: keras.Model, layer: keras.layers.Layer, path: str | None
    ) -> None:
        """Leave a Sequential model's layer, and what it holds, to the model around.

        A Sequential model hands none of its inputs on. `path`: of an insertion.
        """
        self._open[id(graph)] += self._open[id(layer)]
        shape = output_shape(layer)
        if path is not None and (shape is None or len(shape) > 2):
            self._open[id(graph)].append(path)

    def check(self, paths: list[str]) -> None:
        """Raise an error if an insertion would count padding that is marked.

        `paths`: of all insertions.
        """
        if self._unclear:
            names = _masks_in(self._unclear)
            raise ValueError(
                f"Model '{self._model.name}' marks padding in {_quoted(names)}. "
                "Whether this is the padding of what these layers put out cannot be "
                f"told from its graph: {', '.join(self._unclear)}. If it is, insert "
                f"after them with `mask={names[0]!r}`, otherwise with `mask=False`, "
                "which counts every entry."
            )
        lost = self._lost or ({} if self._is_used else self._flat)
        if not lost and isinstance(self._mask, str) and not self._is_used:
            lost = {path: [self._mask] for path in paths}
        if not lost:
            return
        marks = _masks_in(lost)
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

    def _marked(self, graph: keras.Model) -> "_MarkedGraph":
        if id(graph) not in self._graphs:
            self._graphs[id(graph)] = _MarkedGraph(graph, self._mask)
        return self._graphs[id(graph)]

    def _miss(self, graph: keras.Model, path: str, masks: list[str]) -> None:
        """Note that a path has none of the masks; without any, ask further out."""
        if masks:
            self._lost[path] = masks
        else:
            self._open[id(graph)].append(path)


class _MarkedGraph:
    """The masks that mark padding in one graph: inputs, or what a layer makes."""

    def __init__(self, graph: keras.Model, mask: str | bool | None) -> None:
        self._graph = graph
        self._inputs = named_inputs(graph)
        self._names = marking_inputs(self._inputs)
        if isinstance(mask, str):
            self._names = [n for n in self._inputs if n == mask]
        self._made: Tensor = None

    @cached_property
    def positions(self) -> Positions:
        known = {*marking_inputs(self._inputs), *self._names}
        return Positions(self._graph, [n for n in self._inputs if n in known])

    def take_mask(self, name: str, call: Call) -> None:
        """Take the mask from the call of the layer that `mask` names."""
        x = call.outputs[0]
        self._made = x if mask_of(x) is None else mask_of(x)
        if self._made is x and len(x.shape) != 2:
            raise ValueError(
                f"`mask` names the layer '{call.operation.name}', which puts out "
                "neither a Keras mask nor a mask of shape (batch, length). Received: "
                f"outputs of shape {tuple(x.shape)}. Name an input of the model, an "
                "`Embedding(mask_zero=True)`, a `Masking` layer or the like."
            )
        self.positions.add(name, call.old_outputs[0], tuple(self._made.shape))
        self._names = [name]

    def related(self, x: Tensor) -> list[str]:
        """Names of the masks that may be those of a tensor of the graph."""
        return [name for name in self._names if self.positions.depends(x, name)]

    def tensor(self, name: str, call: Call) -> Tensor:
        """The mask of this name in the new graph."""
        made = self._made
        return call.new_of[id(self._inputs[name])] if made is None else made


def _masks_in(found: dict[str, list[str]]) -> list[str]:
    return sorted({name for names in found.values() for name in names})


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
