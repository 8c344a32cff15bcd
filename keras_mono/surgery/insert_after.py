"""Inserting layers of this library into an existing model.

Example:

>>> model = keras.Sequential([
...     keras.Input((8,)),
...     keras.layers.Dense(16, activation="relu", name="hidden"),
...     keras.layers.Dense(2, name="logits"),
... ])
>>> big = km.insert_after(model, "hidden", km.layers.MonosemanticInhibition())
>>> [layer.name for layer in big.layers]
['hidden', 'hidden_monosemantic_inhibition', 'logits']
>>> x = np.ones((4, 8), "float32")
>>> bool((big.predict(x, verbose=0) == model.predict(x, verbose=0)).all())
True
"""

import math
import re
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import keras

from keras_mono._internal import validation
from keras_mono._internal.model_layers import check_is_monosemantic, named_layers
from keras_mono._internal.table import Table
from keras_mono._internal.typing import Tensor
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.surgery.compilation import compile_like
from keras_mono.surgery.padding import Padding
from keras_mono.surgery.places import (
    Place,
    Where,
    matching,
    operations,
    output_shape,
    outputs_in_list,
)
from keras_mono.surgery.rebuild import Call, Rebuilding

_FLOATS = ("float16", "bfloat16", "float32", "float64")  # a policy of Keras each


def insert_after(
    model: keras.Model,
    where: Where,
    layer: RunningStatistics,
    exclude: Where | None = None,
    mask: str | bool | None = None,
    dry_run: bool = False,
    output: int | None = None,
) -> keras.Model | Table:
    """A new model with a copy of `layer` after every layer that matches `where`.

    It has the class and name of `model` and shares its layers and weights. All calls of
    a layer with weights share one copy; each call of another layer has its own.

    Args:
        model: Functional or Sequential model, built or not.
        where: A layer's name or path such as `"encoder/dense"`, a glob of either, a
            `re.Pattern`, a layer class, a function of the layer, or a list of these.
            Names and patterns that match no layer may match an operation.
        layer: The layer of this library to copy. Copies compute in the dtype of the
            output that they follow, and are named after it and their class.
        exclude: Layers not to follow, in the forms of `where`.
        mask: Name of the model input that marks padding, or of a layer with a mask.
            None: the inputs whose names end in `padding_mask`. False: none. Keras' own
            masks always hold.
        dry_run: Return a `Table` of the places instead: `after`, `insert`, `shape`,
            `neurons` and `mask`.
        output: Number of the output to follow, for layers with several.

    Raises:
        ValueError: if `where` or `exclude` matches nothing, or a layer that the graph
            cannot see; for a model without a graph; if padding would be counted.
    """
    check_is_monosemantic(layer)
    matched = matching(model, where, exclude)
    padding = Padding(model, mask)
    insertion = _Insertion(model, matched, layer, padding, output)
    new = insertion.rebuilt(model)
    padding.check([place.path for place in matched])
    return insertion.table(model) if dry_run else compile_like(model, new)


@dataclass
class _Inserted:
    after: str
    layer: RunningStatistics
    masks: dict[str, None] = field(default_factory=dict)  # of its calls, in order


class _Insertion(Rebuilding):
    """Inserts copies of a layer."""

    def __init__(
        self,
        model: keras.Model,
        matched: list[Place],
        template: RunningStatistics,
        padding: Padding,
        output: int | None,
    ) -> None:
        super().__init__()
        self.paths = {id(p.layer): p.path for p in matched}
        self.template = template
        self.padding = padding
        self.output = output
        self.inserted: dict[Any, _Inserted] = {}
        self._taken = {x.name for x in named_layers(model).values()}

    def changes(self, graph: keras.Model) -> bool:
        return any(id(x) in self.paths for x in operations(graph))

    def after_in_list(
        self, graph: keras.Model, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        path = self.paths.get(id(layer))
        self.padding.in_list(graph, layer, path)
        if path is None:
            return []
        outputs = outputs_in_list(graph, layer)
        if outputs and len(outputs) > 1:
            raise ValueError(
                f"Layer '{path}' has {len(outputs)} outputs, which a Sequential model "
                "hands on together, so none can be followed. Pass "
                "`keras.Model(model.inputs, model.outputs)` and the number of one, "
                "such as `output=0`."
            )
        self._number(path, outputs)
        x = outputs[0] if outputs else None
        return [self._copy_for(id(layer), layer, _dtype(layer, x)).layer]

    def after_call(self, call: Call) -> list[Tensor]:
        self.padding.follow(call)
        path = self.paths.get(id(call.operation))
        if path is None:
            return call.outputs
        number = self._number(path, call.outputs)
        inhibited = self._inhibited(call, number, path)
        return [*call.outputs[:number], inhibited, *call.outputs[number + 1 :]]

    def _inhibited(self, call: Call, number: int, path: str) -> Tensor:
        layer, x = call.operation, call.outputs[number]
        shared = bool(getattr(layer, "weights", None))
        form = self._form(x) if shared else len(self.inserted)
        copy = self._copy_for((id(layer), form), layer, _dtype(layer, x))
        found = self.padding.mask_for(call, number, path)
        if found is None:
            return copy.layer(x)
        name, mask = found
        copy.masks[name] = None
        return copy.layer(x, padding_mask=mask)

    def _number(self, path: str, outputs: list[Tensor] | None) -> int:
        """The index of the output to follow; None: one whose shape is not known."""
        shapes = ["unknown"] if outputs is None else [tuple(x.shape) for x in outputs]
        if self.output is None and len(shapes) == 1:
            return 0
        if type(self.output) is int and self.output in range(len(shapes)):
            return self.output
        listed = [f"{i}: {shape}" for i, shape in enumerate(shapes)]
        raise ValueError(
            f"Layer '{path}' has {len(shapes)} outputs, and one tensor is followed: "
            f"name it by its number, such as `output=0`. Received: "
            f"output={self.output!r}. Their shapes: {', '.join(listed)}."
        )

    def table(self, model: keras.Model) -> Table:
        rows = [self._row(copy) for copy in self.inserted.values()]
        kind = type(self.template).__name__
        title = f"{kind} in '{model.name}': {len(rows)} to insert"
        return Table(["after", "insert", "shape", "neurons", "mask"], rows, title)

    def _row(self, copy: _Inserted) -> dict[str, Any]:
        layer, shape = copy.layer, output_shape(copy.layer)
        return {
            "after": copy.after,
            "insert": layer.name,
            "shape": shape and str(shape),
            "neurons": math.prod(layer.mean.shape) if layer.built else None,
            "mask": ", ".join(copy.masks) or None,
        }

    def _form(self, outputs: Tensor) -> Any:
        """A key that is equal for outputs with the same neurons and dtype."""
        shape = tuple(outputs.shape)
        axes = validation.neuron_axes(self.template.axis, shape)
        return len(shape), axes, tuple(shape[a] for a in axes), outputs.dtype

    def _copy_for(self, key: Any, layer: Any, compute: str) -> _Inserted:
        if key not in self.inserted:
            config = {
                **self.template.get_config(),
                "name": self._free_name(layer),
                "dtype": compute,
            }
            copy = type(self.template).from_config(config)
            self.inserted[key] = _Inserted(self.paths[id(layer)], copy)
        return self.inserted[key]

    def _free_name(self, layer: Any) -> str:
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.template).__name__).lower()
        wanted = f"{layer.name}_{kind}"
        numbered = (f"{wanted}_{number}" for number in count(1))
        name = next(n for n in chain([wanted], numbered) if n not in self._taken)
        self._taken.add(name)
        return name


def _dtype(layer: Any, output: Tensor | None) -> str:
    """The dtype of an output; the layer's if that is not known or not a float.

    They differ: a nested model has the global policy, and any layer may cast.
    """
    known: Any = None if output is None else output.dtype
    return known if known in _FLOATS else getattr(layer, "compute_dtype", known)
