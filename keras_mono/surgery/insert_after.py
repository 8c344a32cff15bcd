import math
import re
from typing import Any

import keras

from keras_mono import _validation
from keras_mono._layers import named_layers
from keras_mono._table import Table
from keras_mono._typing import Tensor
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.surgery import padding
from keras_mono.surgery.places import Place, Where, matching
from keras_mono.surgery.rebuild import rebuild

_POLICIES = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def insert_after(
    model: keras.Model,
    where: Where,
    layer: RunningStatistics,
    exclude: Where | None = None,
    mask: str | bool | None = None,
    dry_run: bool = False,
) -> keras.Model | Table:
    """A new model with a copy of `layer` after every layer that `where` means.

    The new model shares all layers and weights with `model`, which stays as it is and
    usable: training one trains both. It has the same class and name, also for KerasHub
    backbones and tasks, and is compiled alike with a new optimizer. At inference it
    gives the same outputs, bit for bit.

    Reaches layers of Functional and Sequential models and of such models nested in
    them. What is inside the `call` of a layer or of a subclassed model is not part of a
    graph and raises.

    A layer with weights that is called several times on inputs of one form is one set
    of neurons: all calls share one inserted layer, which counts each call as a step.
    Every call of a layer without weights gets an inserted layer of its own.

    Args:
        model: Functional or Sequential model, built or not.
        where: After which layers: a name or a path such as `"backbone/dense"`, a glob
            of either such as `"transformer_layer_[4-7]"`, a `re.Pattern` (full match),
            a layer class, a function of the layer that returns a bool, or a list of
            these, each of which must match. `middle(model, where)` gives the papers'
            choice. Layers of this library are never followed.
        layer: What to put in: `MonosemanticInhibition`, `MonosemanticPenalty` or
            `MonosemanticScale`. Copies are made from its config; they compute in the
            type of the layer they follow and are named after it.
        exclude: Layers not to follow, in the forms of `where`.
        mask: Name of the model input that marks padding, of shape `(batch, length)`,
            not 0 where a token counts. The inserted layers get it as their mask, so
            that padding is neither counted nor selected. None: the input whose name
            ends in `padding_mask`, as in KerasHub, if there is one. False: none.
            Keras' own masks are always passed on.
        dry_run: True returns the table of what would be inserted instead.

    Returns:
        The new model; for `dry_run=True` a `Table` with the columns `after`, `insert`,
        `shape`, `neurons` and `mask`.

    Raises:
        ValueError: if something in `where` or `exclude` matches nothing (with the
            candidates), lies inside a block that the graph cannot see, or has several
            outputs; for a subclassed model; for a `mask` that is no input of the model,
            or that none of the inserted layers can be given; and for what `layer`
            itself refuses, such as `axis=None` with unknown lengths.

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
    if not isinstance(layer, RunningStatistics):
        raise ValueError(
            "`layer` must be a layer of this library, such as "
            f"`km.layers.MonosemanticInhibition()`. Received: layer={layer!r}."
        )
    padding.check_mask_argument(mask)
    matched = matching(model, where, exclude)
    graphs = padding.all_graphs(model)
    if isinstance(mask, str) and not any(
        padding.padding_input(g, mask) for g in graphs
    ):
        raise ValueError(
            f"`mask` must name an input of the model. Received: mask={mask!r}. Inputs "
            f"of '{model.name}': {padding.input_names(model)}."
        )
    insertion = _Insertion(model, matched, layer, mask)
    new = rebuild(model, insertion)
    insertion.check_that_padding_is_used(graphs)
    return insertion.table(model) if dry_run else new


class _Inserted:
    def __init__(self, after: str, layer: RunningStatistics) -> None:
        self.after = after
        self.layer = layer
        self.mask: str | None = None


class _Insertion:
    """The edit that puts copies of a layer in."""

    def __init__(
        self,
        model: keras.Model,
        matched: list[Place],
        template: RunningStatistics,
        mask: str | bool | None,
    ) -> None:
        self.paths = {id(p.layer): p.path for p in matched}
        self.template = template
        self.mask = mask
        self.inserted: dict[Any, _Inserted] = {}
        self._taken = {x.name for x in named_layers(model).values()}
        self._without_mask: list[str] = []

    def changes(self, graph: keras.Model) -> bool:
        return any(id(x) in self.paths for x in graph.layers)

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer

    def after_in_list(self, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
        if id(layer) not in self.paths:
            return []
        return [self._copy_for(id(layer), layer).layer]

    def after_call(
        self,
        graph: keras.Model,
        layer: keras.layers.Layer,
        outputs: Any,
        inputs: dict[str, Tensor],
    ) -> Any:
        if id(layer) not in self.paths:
            return outputs
        path = self.paths[id(layer)]
        if not isinstance(outputs, keras.KerasTensor):
            number = len(keras.tree.flatten(outputs))
            raise ValueError(
                f"Layer '{path}' has {number} outputs in a {type(outputs).__name__}; "
                "only a layer with one output tensor can be followed. Name a layer "
                "inside or after it."
            )
        shared = bool(layer.weights)
        form = self._form(outputs) if shared else len(self.inserted)
        copy = self._copy_for((id(layer), form), layer)
        name = padding.padding_input(graph, self.mask)
        if name is None:
            if getattr(outputs, "_keras_mask", None) is None:
                self._without_mask.append(path)
            return copy.layer(outputs)
        if not padding.fits(inputs[name], outputs):
            return copy.layer(outputs)
        copy.mask = name
        return copy.layer(outputs, padding_mask=inputs[name])

    def check_that_padding_is_used(self, graphs: list[keras.Model]) -> None:
        """Padding that somebody marked must not be counted because nobody passed it."""
        marked = [g for g in graphs if padding.padding_input(g, self.mask)]
        if not marked:
            return
        name = padding.padding_input(marked[0], self.mask)
        without = [
            path for path in self._without_mask if self._has_positions(marked[0], path)
        ]
        unused = not any(copy.mask for copy in self.inserted.values())
        if without or unused:
            after = without or [copy.after for copy in self.inserted.values()]
            raise ValueError(
                f"Model '{marked[0].name}' marks padding in its input '{name}', which "
                f"cannot be given to the layers after {', '.join(after)}: they have "
                "no axis of positions, or lie in a nested model without that input. "
                "Insert where the outputs have the shape (batch, length, ...) and the "
                "input can be reached, or pass `mask=False` to count every entry."
            )

    def table(self, model: keras.Model) -> Table:
        rows = [
            {
                "after": copy.after,
                "insert": copy.layer.name,
                "shape": _output_shape(copy.layer),
                "neurons": _neurons(copy.layer),
                "mask": copy.mask,
            }
            for copy in self.inserted.values()
        ]
        kind = type(self.template).__name__
        title = f"{kind} in '{model.name}': {len(rows)} to insert"
        return Table(["after", "insert", "shape", "neurons", "mask"], rows, title)

    def _form(self, outputs: Tensor) -> Any:
        """Calls whose outputs agree in this have the same neurons."""
        shape = tuple(outputs.shape)
        axes = _validation.neuron_axes(self.template.axis, shape)
        return len(shape), axes, tuple(shape[a] for a in axes)

    def _copy_for(self, key: Any, layer: keras.layers.Layer) -> _Inserted:
        if key not in self.inserted:
            compute = layer.compute_dtype
            config = {
                **self.template.get_config(),
                "name": self._free_name(layer),
                "dtype": _POLICIES.get(compute, compute),
            }
            copy = type(self.template).from_config(config)
            self.inserted[key] = _Inserted(self.paths[id(layer)], copy)
        return self.inserted[key]

    def _free_name(self, layer: keras.layers.Layer) -> str:
        kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.template).__name__).lower()
        wanted = name = f"{layer.name}_{kind}"
        number = 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def _has_positions(self, graph: keras.Model, path: str) -> bool:
        name = padding.padding_input(graph, self.mask)
        mask = next(x for x in graph.inputs if x.name == name)
        copies = [c.layer for c in self.inserted.values() if c.after == path]
        return any(padding.fits(mask, copy.output) for copy in copies)


def _output_shape(layer: keras.layers.Layer) -> str | None:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # in a Sequential that is not built yet
        return None
    return f"({', '.join(map(str, shape))})"


def _neurons(layer: RunningStatistics) -> int | None:
    if not layer.built:
        return None
    return math.prod(layer.mean.shape)
