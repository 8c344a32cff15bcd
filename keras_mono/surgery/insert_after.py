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
from typing import Any

import keras

from keras_mono._internal import validation
from keras_mono._internal.model_layers import named_layers
from keras_mono._internal.table import Table
from keras_mono._internal.typing import Tensor
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.surgery.padding import Padding, check_mask_argument
from keras_mono.surgery.places import Place, Where, matching, operations
from keras_mono.surgery.rebuild import Call, rebuild

_POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def insert_after(
    model: keras.Model,
    where: Where,
    layer: RunningStatistics,
    exclude: Where | None = None,
    mask: str | bool | None = None,
    dry_run: bool = False,
    output: int | None = None,
) -> keras.Model | Table:
    """A new model with a copy of `layer` after every layer that `where` means.

    It has the class and name of `model` and shares its layers and weights. All calls of
    a layer with weights share one copy; each call of another layer has its own.

    Args:
        model: Functional or Sequential model, built or not.
        where: A layer's name or path such as `"encoder/dense"`, a glob of either, a
            `re.Pattern`, a layer class, a function of the layer, or a list of these.
        layer: The layer of this library to copy. Copies compute in the dtype of the
            layer before them.
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
    _check_layer(layer)
    matched = matching(model, where, exclude)
    check_mask_argument(mask, model)
    padding = Padding(model, mask)
    insertion = _Insertion(model, matched, layer, padding, _index(output))
    new = rebuild(model, insertion)
    padding.check()
    return insertion.table(model) if dry_run else new


def _check_layer(layer: Any) -> None:
    if not isinstance(layer, RunningStatistics):
        raise ValueError(
            "`layer` must be a layer of this library, such as "
            f"`km.layers.MonosemanticInhibition()`. Received: layer={layer!r}."
        )


def _index(output: Any) -> int | None:
    if output is None:
        return None
    if isinstance(output, bool) or not isinstance(output, int) or output < 0:
        raise ValueError(
            "`output` must be the number of one of a layer's outputs, counted from 0, "
            f"or None. Received: output={output!r}."
        )
    return output


class _Inserted:
    def __init__(self, after: str, layer: RunningStatistics) -> None:
        self.after = after
        self.layer = layer
        self.masks: dict[str, None] = {}  # of its calls, in order


class _Insertion:
    """The edit that inserts copies of a layer."""

    def __init__(
        self,
        model: keras.Model,
        matched: list[Place],
        template: RunningStatistics,
        padding: Padding,
        output: int | None,
    ) -> None:
        self.paths = {id(p.layer): p.path for p in matched}
        self.template = template
        self.padding = padding
        self.output = output
        self.inserted: dict[Any, _Inserted] = {}
        self._taken = {x.name for x in named_layers(model).values()}

    def changes(self, graph: keras.Model) -> bool:
        return any(id(x) in self.paths for x in operations(graph))

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer

    def after_in_list(
        self, graph: keras.Model, layer: keras.layers.Layer
    ) -> list[keras.layers.Layer]:
        self.padding.pass_on(graph, layer)
        if id(layer) not in self.paths:
            return []
        self.padding.in_list(graph, layer, self.paths[id(layer)])
        return [self._copy_for(id(layer), layer, layer.compute_dtype).layer]

    def after_call(self, call: Call) -> Any:
        self.padding.follow(call)
        if id(call.operation) not in self.paths:
            return call.outputs
        path = self.paths[id(call.operation)]
        outputs = keras.tree.flatten(call.outputs)
        number = self._number(path, call.outputs, outputs)
        outputs[number] = self._inhibited(call, outputs[number], path)
        return keras.tree.pack_sequence_as(call.outputs, outputs)

    def _inhibited(self, call: Call, x: Tensor, path: str) -> Tensor:
        layer = call.operation
        shared = bool(getattr(layer, "weights", None))
        form = self._form(x) if shared else len(self.inserted)
        dtype = getattr(layer, "compute_dtype", x.dtype)
        copy = self._copy_for((id(layer), form), layer, dtype)
        found = self.padding.mask_for(call, x, path)
        if found is None:
            y = copy.layer(x)
        else:
            copy.masks[found[0]] = None
            y = copy.layer(x, padding_mask=found[1])
        self.padding.inserted(call, x, y)
        return y

    def _number(self, path: str, structure: Any, outputs: list[Any]) -> int:
        """The index of the output to follow."""
        if self.output is None and isinstance(structure, keras.KerasTensor):
            return 0
        number = -1 if self.output is None else self.output
        tensors = {i for i, x in enumerate(outputs) if isinstance(x, keras.KerasTensor)}
        if number in tensors:
            return number
        shapes = [f"{i}: {tuple(outputs[i].shape)}" for i in sorted(tensors)]
        raise ValueError(
            f"Layer '{path}' has {len(outputs)} outputs, and one tensor is followed: "
            f"name it by its number, such as `output=0`. Received: "
            f"output={self.output}. Their shapes: {', '.join(shapes)}."
        )

    def table(self, model: keras.Model) -> Table:
        rows = [
            {
                "after": copy.after,
                "insert": copy.layer.name,
                "shape": _output_shape(copy.layer),
                "neurons": _neurons(copy.layer),
                "mask": ", ".join(copy.masks) or None,
            }
            for copy in self.inserted.values()
        ]
        kind = type(self.template).__name__
        title = f"{kind} in '{model.name}': {len(rows)} to insert"
        return Table(["after", "insert", "shape", "neurons", "mask"], rows, title)

    def _form(self, outputs: Tensor) -> Any:
        """A key that is equal for outputs with the same neurons."""
        shape = tuple(outputs.shape)
        axes = validation.neuron_axes(self.template.axis, shape)
        return len(shape), axes, tuple(shape[a] for a in axes)

    def _copy_for(self, key: Any, layer: Any, compute: str) -> _Inserted:
        if key not in self.inserted:
            config = {
                **self.template.get_config(),
                "name": self._free_name(layer),
                "dtype": _POLICIES.get(compute, compute),
            }
            copy = type(self.template).from_config(config)
            self.inserted[key] = _Inserted(self.paths[id(layer)], copy)
        return self.inserted[key]

    def _free_name(self, layer: Any) -> str:
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.template).__name__).lower()
        wanted = name = f"{layer.name}_{kind}"
        number = 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _output_shape(layer: keras.layers.Layer) -> str | None:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # in an unbuilt Sequential
        return None
    return f"({', '.join(map(str, shape))})"


def _neurons(layer: RunningStatistics) -> int | None:
    if not layer.built:
        return None
    return math.prod(layer.mean.shape)
