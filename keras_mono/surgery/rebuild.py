"""Rebuilding a model with layers added or removed, and all others shared."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import keras

from keras_mono._internal import keras_private
from keras_mono._internal.typing import Tensor
from keras_mono.surgery.keep_class import as_class_of
from keras_mono.surgery.places import is_graph

_CANNOT_COPY = (TypeError, ValueError, KeyError, AttributeError, NotImplementedError)


class Call(NamedTuple):
    """A call in the new graph; `graph` and `operation` are the original ones."""

    graph: keras.Model
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    inputs: dict[str, Tensor]  # of the new graph, by name


class Edit(Protocol):
    """The changes to make. `graph` is one of the original model."""

    def changes(self, graph: keras.Model) -> bool:
        """Whether anything directly in this graph changes."""

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer | None:
        """The layer to use instead: itself, another one, or None to remove it."""

    def after_in_list(
        self, graph: keras.Model, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        """Layers that follow `layer` in a Sequential model."""

    def after_call(self, call: Call) -> Any:
        """The outputs to use instead of those of a call."""


def rebuild(model: keras.Model, edit: Edit) -> keras.Model:
    """A model like `model`, of its class and name, with `edit` applied.

    It is compiled as `model` is, with a new optimizer.
    """
    new = _Rebuilding(edit).graph(model)
    _compile_like(model, new)
    return new


class _Rebuilding:
    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self.replaced: dict[int, keras.layers.Layer | None] = {}  # by id of the old one

    def graph(self, old: keras.Model) -> keras.Model:
        make = self._sequential if isinstance(old, keras.Sequential) else self._graph
        new = make(old)
        if type(new) is not type(old):
            new = as_class_of(old, new, self.replaced)
        if hasattr(old, "output_names"):  # they are those of the layers that end it
            new.output_names = list(old.output_names)
        if not old.trainable:  # of the model alone: its layers keep their own
            keras_private.freeze_without_layers(new)
        return new

    def layer(self, old: keras.layers.Layer) -> keras.layers.Layer | None:
        if id(old) not in self.replaced:
            changes = is_graph(old) and self._changes(old)
            new = self.graph(old) if changes else self.edit.replace(old)
            self.replaced[id(old)] = new
        return self.replaced[id(old)]

    def _changes(self, graph: keras.Model) -> bool:
        if self.edit.changes(graph):
            return True
        return any(is_graph(x) and self._changes(x) for x in graph.layers)

    def _sequential(self, old: keras.Sequential) -> keras.Sequential:
        layers: list[Any] = []
        for layer in old.layers:
            new = self.layer(layer)
            layers += [] if new is None else [new, *self.edit.after_in_list(old, layer)]
        layers = layers or [keras.layers.Identity()]
        inputs = getattr(old, "inputs", None)  # missing before it is built
        if inputs and not isinstance(old.layers[0], keras.Model):
            layers.insert(0, _input_like(inputs[0]))
        return keras.Sequential(layers, name=old.name)

    def _graph(self, old: keras.Model) -> keras.Model:
        inputs = keras.tree.map_structure(_input_like, old.input)
        by_name = {x.name: x for x in keras.tree.flatten(inputs)}
        old_of: dict[int, Any] = {}

        def layer(operation: Any) -> Any:
            if not isinstance(operation, keras.layers.Layer):
                return operation
            new = self.layer(operation)
            if new is None:  # removed where it is called
                return operation
            old_of[id(new)] = operation
            return new

        def call(new: Any, *args: Any, **kwargs: Any) -> Any:
            operation = old_of.get(id(new), new)
            if self.replaced.get(id(operation), operation) is None:
                return args[0] if args else kwargs["inputs"]
            outputs = new(*args, **kwargs)
            seen = Call(old, operation, args, kwargs, outputs, by_name)
            return self.edit.after_call(seen)

        return _uncompiled(
            old,
            lambda: keras.models.clone_model(
                old, clone_function=layer, call_function=call, input_tensors=inputs
            ),
        )


def input_name(x: Tensor) -> str:
    """Name of a model's input, which the new model keeps."""
    maker = keras_private.operation_of(x)
    return str(maker.name if isinstance(maker, keras.layers.InputLayer) else x.name)


def _input_like(x: Tensor) -> Tensor:
    maker = keras_private.operation_of(x)
    return keras.Input(
        batch_shape=x.shape,
        dtype=x.dtype,
        sparse=x.sparse,
        name=input_name(x),
        optional=bool(getattr(maker, "optional", False)),
    )


def _uncompiled(model: keras.Model, run: Callable[[], Any]) -> Any:
    """`run()` while the model counts as not compiled."""
    compiled, model.compiled = model.compiled, False
    try:
        return run()
    finally:
        model.compiled = compiled


def _compile_like(old: keras.Model, new: keras.Model) -> None:
    if not old.compiled:
        return
    try:
        arguments = _compile_arguments(old)
    except _CANNOT_COPY as error:
        warnings.warn(
            f"Model '{old.name}' is compiled with an optimizer that Keras cannot copy, "
            "so the new model is not compiled. Call its `compile` with your loss, "
            f"optimizer and metrics. ({type(error).__name__}: {error})",
            stacklevel=4,
        )
        return
    # Arguments that a class adds to `compile`, such as a causal model's `sampler`.
    for name in inspect.signature(new.compile).parameters:
        if name not in arguments and hasattr(old, name):
            arguments[name] = getattr(old, name)
    new.compile(**arguments)


def _compile_arguments(old: keras.Model) -> dict[str, Any]:
    """What the model was compiled with, with an optimizer and metrics of its own.

    Losses and functions are the same objects: they hold no state.
    """
    is_own = type(old).get_compile_config is not keras.Model.get_compile_config
    given = keras_private.given_compile_arguments(old)
    if is_own or given is None:
        config = old.get_compile_config()
        return dict(keras.saving.deserialize_keras_object(config))
    optimizer = given.get("optimizer")
    if optimizer is not None:
        given["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    for name in ("metrics", "weighted_metrics"):
        given[name] = _with_copied_metrics(given.get(name))
    return given


def _with_copied_metrics(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [_with_copied_metrics(x) for x in given]
    if isinstance(given, dict):
        return {k: _with_copied_metrics(x) for k, x in given.items()}
    if not isinstance(given, keras.metrics.Metric):
        return given
    try:
        return type(given).from_config(given.get_config())
    except _CANNOT_COPY:
        return given  # such as one that holds a lambda; `fit` resets it
