"""The effect of one training step on the activations that a layer inhibits.

Extreme activations move towards the mean in any case (regression to the mean). So each
strength is compared with plain training on the same batch, with the same dropout, and
with all other layers of this library off. `more_than_plain` is the difference of the
Decrease Ratios, averaged over batches. Its standard error is over the batches of one
network, and says nothing about other networks. Batches without a finite ratio are left
out. Strength 1 is reversed deactivation, 0 and -1 are the paper's naive (a) and (b).

Example:

>>> model = keras.Sequential([
...     keras.Input((4,)),
...     keras.layers.Dense(8),
...     km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
...     keras.layers.Dense(1),
... ])
>>> model.compile(keras.optimizers.SGD(0.001), "mse")
>>> x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
>>> history = model.fit(x, x[:, :1], verbose=0)
>>> table = km.analysis.decrease_ratio(model, "inhibition", x, x[:, :1])
>>> [row["method"] for row in table]
['plain', 'strength 1']
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_mono._internal.data import as_array, as_arrays, batches, number_of_samples
from keras_mono._internal.model_layers import find_layers, named_layers
from keras_mono._internal.snapshot import Snapshot
from keras_mono._internal.table import Table
from keras_mono.analysis.activations import activations
from keras_mono.analysis.known import known, mean_known
from keras_mono.backend import backend
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition
from keras_mono.layers.selecting_layer import SelectingLayer

_COLUMNS = [
    "method",
    "decrease_ratio",
    "update_ratio",
    "more_than_plain",
    "standard_error",
    "batches",
    "activations",
]


def decrease_ratio(
    model: keras.Model,
    layer: str,
    x: Any,
    y: Any,
    strength: float | Sequence[float] = 1.0,
    batch_size: int = 64,
) -> Table:
    """What one training step does to the activations that a layer inhibits.

    From the same weights and on the same batch, one step is taken without inhibition
    and one with each strength. Let z be the activations that the layer selects on the
    batch, z' their values after the step, and φ by the statistics before it:

    - *Decrease Ratio* `(1 - φ(z')/φ(z)) · 100 %`
    - *Total Update Ratio* `|z'/z - 1| · 100 %` (MEmeL, arXiv:2312.11560, Table 4)

    Args:
        model: A compiled model, trained past the layer's `start_step`. Its optimizer
            takes the steps: use a small learning rate.
        layer: Name of a `MonosemanticInhibition`.
        x: The model's inputs: an array, or a list, tuple or dict of arrays.
        y: The targets, an array.
        strength: Δ, one or several.
        batch_size: Samples per step. An incomplete batch at the end is not used.

    Padding (Keras masks, `padding_mask`) is left out.
    """
    ((_, watched),) = find_layers(model, [layer]).items()
    _check(model, layer, watched)
    x, y = _checked_data(x, y, batch_size)
    conditions = _conditions(strength)
    with _switched_off(_others(model, watched)):
        experiment = _Experiment(model, layer, watched)
        pairs = _full_batches(x, y, batch_size)
        found = [experiment.ratios(*pair, conditions) for pair in pairs]
    number, ratios = experiment.selected, np.array(found)
    of = zip(conditions, ratios.swapaxes(0, 1), strict=True)
    rows = [_row(c, found, ratios[:, 0], number) for c, found in of]
    return Table(_COLUMNS, rows, f"one step's effect on what '{layer}' selects, %")


def _conditions(strength: float | Sequence[float]) -> list[float | None]:
    strengths = np.atleast_1d(np.asarray(strength, np.float64)).tolist()
    if not strengths:
        raise ValueError(
            "`strength` must be a number or several. Received: none. Pass 1.0 for "
            "reversed deactivation."
        )
    return [None, *strengths]


def _checked_data(x: Any, y: Any, batch_size: int) -> tuple[Any, np.ndarray]:
    x, y = as_arrays(x), as_array(y)
    length = number_of_samples(x)
    if len(y) != length or length < batch_size:
        raise ValueError(
            "`x` and `y` must hold the same samples, at least one batch. Received: "
            f"{length} inputs and {len(y)} targets for batch_size={batch_size}."
        )
    return x, y


def _full_batches(
    x: Any, y: np.ndarray, batch_size: int
) -> Iterator[tuple[Any, np.ndarray]]:
    for index, inputs in enumerate(batches(x, batch_size)):
        targets = y[index * batch_size : (index + 1) * batch_size]
        if len(targets) == batch_size:
            yield inputs, targets


class _Experiment:
    """Training steps whose effect is measured and undone.

    Attributes:
        selected: How many activations the layer has selected on all batches.
    """

    def __init__(
        self, model: keras.Model, name: str, layer: MonosemanticInhibition
    ) -> None:
        self.model, self.name, self.layer = model, name, layer
        self.before = _State(model, layer)
        self.selected = 0

    def ratios(
        self, inputs: Any, targets: np.ndarray, strengths: Sequence[float | None]
    ) -> list[tuple[float, float]]:
        """Decrease and update ratio on a batch by strength; None: a plain step."""
        z = self._activations(inputs)
        selected = keras.ops.convert_to_numpy(self.layer.selected(z))
        self.selected += int(selected.sum())
        mean = keras.ops.convert_to_numpy(self.layer.mean).astype(np.float64)
        mean = np.broadcast_to(mean, z.shape)[selected]
        old = z[selected].astype(np.float64)
        found = []
        for strength in strengths:
            new = self._after_step(inputs, targets, strength)[selected]
            found.append(_ratios(old, new.astype(np.float64), mean))
        return found

    def _after_step(
        self, inputs: Any, targets: np.ndarray, strength: float | None
    ) -> np.ndarray:
        self.layer.enabled = strength is not None
        if strength is not None:
            self.layer.strength = strength
        try:
            self.model.train_on_batch(inputs, targets)
            return self._activations(inputs)
        finally:
            self.before.restore()

    def _activations(self, inputs: Any) -> np.ndarray:
        # All samples at once: one forward pass per batch. NaN is not selected.
        of = self.model, inputs, [self.name], number_of_samples(inputs)
        return activations(*of, masked=np.nan)[self.name]


def _others(
    model: keras.Model, watched: MonosemanticInhibition
) -> list[SelectingLayer]:
    """The other layers that would change what a step does."""
    every = named_layers(model).values()
    return [x for x in every if isinstance(x, SelectingLayer) and x is not watched]


@contextmanager
def _switched_off(layers: list[SelectingLayer]) -> Iterator[None]:
    were = [layer.enabled for layer in layers]
    try:
        for layer in layers:
            layer.enabled = False
        yield
    finally:
        for layer, was in zip(layers, were, strict=True):
            layer.enabled = was


class _State:
    """Everything that a training step changes, to be restored."""

    def __init__(self, model: keras.Model, layer: MonosemanticInhibition) -> None:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        self.tensors = Snapshot([*variables, *model.metrics_variables])
        self.restore_random = backend.random_state()
        self.layer, self.enabled, self.strength = layer, layer.enabled, layer.strength

    def restore(self) -> None:
        self.tensors.restore()
        self.restore_random()
        self.layer.enabled, self.layer.strength = self.enabled, self.strength


def _check(model: keras.Model, name: str, layer: keras.layers.Layer) -> None:
    if not isinstance(layer, MonosemanticInhibition):
        raise ValueError(
            f"`layer` must name a MonosemanticInhibition. Received: '{name}', a "
            f"{type(layer).__name__}. Put one in with `keras_mono.insert_after`."
        )
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"Model '{model.name}' is not compiled. Call `model.compile(optimizer, "
            "loss)` with a small learning rate."
        )
    steps = int(keras.ops.convert_to_numpy(layer.step)) if layer.built else 0
    if steps < layer.start_step or not (layer.enabled and layer.trainable):
        raise ValueError(
            f"Layer '{name}' selects nothing yet: it has seen {steps} batches, starts "
            f"after {layer.start_step}, and must be enabled and trainable. Train first."
        )


def _ratios(old: np.ndarray, new: np.ndarray, mean: np.ndarray) -> tuple[float, float]:
    """Decrease and update ratio of a batch, in percent; the variance cancels.

    NaN where there is no finite one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        update = np.abs(new / old - 1)
    decrease = 1 - ((new - mean) / (old - mean)) ** 2
    of_all = float(decrease.mean()) if len(decrease) else math.nan
    of_finite = mean_known(np.where(np.isfinite(update), update, np.nan))
    return 100 * of_all if math.isfinite(of_all) else math.nan, 100 * of_finite


def _row(
    strength: float | None, found: np.ndarray, plain: np.ndarray, number: int
) -> dict[str, Any]:
    more = known(found[:, 0] - plain[:, 0])
    error = more.std(ddof=1) / math.sqrt(len(more)) if len(more) > 1 else math.nan
    return {
        "method": "plain" if strength is None else f"strength {strength:g}",
        "decrease_ratio": mean_known(found[:, 0]),
        "update_ratio": mean_known(found[:, 1]),
        "more_than_plain": None if strength is None else mean_known(more),
        "standard_error": None if strength is None else float(error),
        "batches": int(np.isfinite(found[:, 0]).sum()),
        "activations": number,
    }
