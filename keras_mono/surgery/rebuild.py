"""Rebuilding a model with layers added or removed, and all others shared."""

from typing import Any, NamedTuple

import keras

from keras_mono._internal import keras_private
from keras_mono._internal.typing import Tensor
from keras_mono.surgery.keep_class import as_class_of
from keras_mono.surgery.places import input_name, is_graph


class Call(NamedTuple):
    """A call of the original `graph`, and its tensors in the new one."""

    graph: keras.Model
    operation: Any
    old_outputs: list[Tensor]
    arguments: list[Any]  # new ones, flat
    outputs: list[Tensor]
    new_of: dict[int, Tensor]  # by the ids of the graph's tensors, as far as called


class Rebuilding:
    """Rebuilds models; a subclass says what changes. All graphs are original ones."""

    def __init__(self) -> None:
        self._replaced: dict[int, keras.layers.Layer | None] = {}  # by id of the old

    def changes(self, graph: keras.Model) -> bool:
        """Whether anything directly in this graph changes."""
        return any(self.replace(layer) is not layer for layer in graph.layers)

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer | None:
        """The layer to use instead: itself, another one, or None to remove it."""
        return layer

    def after_in_list(
        self,
        graph: keras.Model,  # noqa: ARG002
        layer: keras.layers.Layer,  # noqa: ARG002
    ) -> list[keras.layers.Layer]:
        """Layers that follow `layer` in a Sequential model."""
        return []

    def after_call(self, call: Call) -> list[Tensor]:
        """The outputs to use instead of those of a call."""
        return call.outputs

    def rebuilt(self, old: keras.Model) -> keras.Model:
        """A model like `old`, of its class and name, with the changes, uncompiled."""
        make = self._sequential if isinstance(old, keras.Sequential) else self._graph
        new = make(old)
        if type(new) is not type(old):
            new = as_class_of(old, new, self._replaced)
        if hasattr(old, "output_names"):  # they are those of the layers that end it
            new.output_names = list(old.output_names)
        if not old.trainable:  # of the model alone: its layers keep their own
            keras_private.freeze_without_layers(new)
        return new

    def _layer(self, old: keras.layers.Layer) -> keras.layers.Layer | None:
        if id(old) not in self._replaced:
            changes = is_graph(old) and self._changes(old)
            new = self.rebuilt(old) if changes else self.replace(old)
            self._replaced[id(old)] = new
        return self._replaced[id(old)]

    def _changes(self, graph: keras.Model) -> bool:
        inner = (x for x in graph.layers if is_graph(x))
        return self.changes(graph) or any(map(self._changes, inner))

    def _sequential(self, old: keras.Sequential) -> keras.Sequential:
        layers: list[Any] = []
        for layer in old.layers:
            new = self._layer(layer)
            layers += [] if new is None else [new, *self.after_in_list(old, layer)]
        layers = layers or [keras.layers.Identity()]
        inputs = getattr(old, "inputs", None)  # missing before it is built
        if inputs:
            layers.insert(0, _input_like(inputs[0]))
        return keras.Sequential(layers, name=old.name)

    def _graph(self, old: keras.Model) -> keras.Model:
        inputs = keras.tree.map_structure(_input_like, old.input)
        new_of = dict(zip(map(id, old.inputs), keras.tree.flatten(inputs), strict=True))
        for call in keras_private.calls_in_order(old):
            outputs = self._call(old, call, new_of)
            new_of.update(zip(map(id, call.outputs), outputs, strict=True))
        outputs = keras.tree.map_structure(lambda x: new_of[id(x)], old.output)
        return keras.Model(inputs, outputs, name=old.name)

    def _call(self, graph: keras.Model, call: Any, new_of: Any) -> list[Tensor]:
        args, kwargs = call.arguments.fill_in(new_of)
        operation = call.operation
        if isinstance(operation, keras.layers.Layer):
            operation = self._layer(operation)
        arguments = keras.tree.flatten((args, kwargs))
        if operation is None:
            return arguments[:1]
        outputs = keras.tree.flatten(operation(*args, **kwargs))
        return self.after_call(
            Call(graph, call.operation, call.outputs, arguments, outputs, new_of)
        )


def _input_like(x: Tensor) -> Tensor:
    return keras.Input(
        batch_shape=x.shape,
        dtype=x.dtype,
        sparse=x.sparse,
        name=input_name(x),
        optional=keras_private.call_of(x).operation.optional,
    )
