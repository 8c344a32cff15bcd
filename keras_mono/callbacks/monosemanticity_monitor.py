import copy
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mono import _validation
from keras_mono._history import LARGEST_DEVIATION
from keras_mono._layers import find_layers, named_layers
from keras_mono.analysis._extras import need
from keras_mono.analysis.plots.tail_over_training import tail_over_training
from keras_mono.analysis.recording import Recorded, batches, record
from keras_mono.analysis.summary import own_phi, tail_figures
from keras_mono.callbacks._steps import steps_done
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.layers.selecting_layer import SelectingLayer
from keras_mono.selectors.moving_threshold import MovingThreshold

_FIGURES = ("ms_top1", "ms_threshold", "ms_tail", "ms_kurtosis")
_AS_MEASURED = {"inhibited": "selected", "penalized": "selected"}


class MonosemanticityMonitor(keras.callbacks.Callback):
    """Shows during `fit` how monosemantic the neurons of each watched layer are.

    Runs the model on `data` at inference and writes these figures of each layer NAME
    into `logs`, so that `History`, `CSVLogger`, the progress line and every logger
    after it carry them:

    - `NAME_ms_top1`: the largest φ of a sample, averaged over the samples;
    - `NAME_ms_threshold`: the φ that 2 % of the activations exceed;
    - `NAME_ms_tail`: the share of activations with φ ≥ 9 (3 standard deviations);
    - `NAME_ms_kurtosis`: the mean of φ²;
    - `NAME_inhibited`, of a `MonosemanticPenalty` `NAME_penalized`: the share of
      `data`'s activations that the layer's present statistics (and τ) select: 0 before
      its `start_step` and while it is switched off.

    and these from the layers' state, which need no `data`:

    - `NAME_tau`: τ of a `MovingThreshold` (NaN before `start_step`);
    - `NAME_penalty`: what a `MonosemanticPenalty` added to the loss of the latest
      training batch (in its latest call, where a model calls it several times);
    - `NAME_non_finite`: how many entries a layer of this library has left out so far,
      because they were NaN, infinite or beyond 3.6e16;
    - without `data`, `NAME_inhibited` or `NAME_penalized` is the share that a
      `MovingThreshold` selected of the latest training batch.

    The reference of φ: for a layer of this library its running statistics, which come
    from the training batches, and only for neurons with a history (NaN before any); for
    any other layer the mean and variance of its outputs on `data` itself, every
    position of a sample being a neuron. Figures with different references should not be
    compared: to watch a plain model as a model with inhibition is watched, put
    `MonosemanticScale` in it. Masked entries count in no figure of a layer of this
    library; other layers' masks are not seen.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1; the 2 % is L2E's (arXiv:2503.23298).

    Args:
        data: The model's inputs, without labels: an array, or a list, tuple or dict of
            arrays. A few hundred held-out samples will do. None: only the figures from
            the layers' state, which cost no forward pass.
        layers: Names of the layers to watch. None: all layers of this library (without
            `data`, those that have a figure).
        every: Measure at every so many epochs (batches), counted from 0, the first. In
            between, the epoch's figures are NaN and nothing is computed.
        unit: `"epoch"` or `"batch"`: what `every` counts. By batch, the figures stand
            in the batch's logs, and the latest ones in the epoch's.
        batch_size: Samples a forward pass.

    Raises:
        ValueError: when training begins, for a name that no layer has (the names are
            listed), for a model without layers to watch, and, without `data`, for a
            layer that has no figure of its own.

    Attributes:
        rows: One dict a measurement and layer: `epoch`, `batch`, `layer`, `reference`
            and the figures without their `NAME_` and `ms_` prefixes. Emptied when
            training begins.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu"),
    ...     km.layers.MonosemanticInhibition(name="inhibition"),
    ...     keras.layers.Dense(1),
    ... ])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(320, 8)).astype("float32")
    >>> monitor = km.callbacks.MonosemanticityMonitor(x[:64])
    >>> history = model.fit(
    ...     x, x[:, :1], epochs=2, batch_size=16, callbacks=[monitor], verbose=0)
    >>> len(history.history["inhibition_ms_top1"])
    2
    >>> history.history["inhibition_inhibited"][-1]
    0.0625
    """

    def __init__(
        self,
        data: Any = None,
        layers: Sequence[str] | None = None,
        every: int = 1,
        unit: str = "epoch",
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        if unit not in ("epoch", "batch"):
            raise ValueError(f"`unit` must be 'epoch' or 'batch'. Received: {unit!r}.")
        self.data = data
        self.layers = [layers] if isinstance(layers, str) else layers
        self.every = _validation.positive_integer("every", every, f"of {unit}s")
        self.unit = unit
        self.batch_size = _validation.positive_integer(
            "batch_size", batch_size, "of samples"
        )
        # By epoch nothing happens at a batch's end, so Keras need not wait for it.
        self.async_safe = unit == "epoch"
        self._forget()

    def _forget(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._keys: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._epoch = 0
        self._batches = 0
        self._batches_before = 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._forget()
        self._keys |= {
            f"{name}_{figure}": math.nan
            for name, layer in self._watched().items()
            for figure in self._figures_of(layer)
        }
        if self.data is not None:
            next(batches(self.data, self.batch_size))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        self._batches_before = self._batches

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        if self.unit != "batch":
            return
        due = -(-self._batches // self.every) * self.every  # next multiple of `every`
        self._batches = self._batches_before + steps_done(batch, self.params)
        if due < self._batches:
            self._latest = self._measure(batch)
            if logs is not None:
                logs.update(self._latest)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.unit == "epoch":
            self._latest = self._measure(None) if epoch % self.every == 0 else {}
        if logs is not None:
            logs.update({**self._keys, **self._latest})

    def to_frame(self) -> Any:
        """The measurements as a pandas `DataFrame`, one row a measurement and layer.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        return need("pandas").DataFrame(self.rows)

    def plot(self) -> Any:
        """The figures over training as a matplotlib `Figure`, one panel a figure.

        Raises:
            ImportError: if matplotlib is missing, naming the extra.
            ValueError: if nothing has been measured.
        """
        return tail_over_training(self.rows, self.unit)

    def __deepcopy__(self, memo: dict[int, Any]) -> "MonosemanticityMonitor":
        """A monitor with the same settings and its own rows, not tied to a model."""
        twin = type(self)(
            self.data, self.layers, self.every, self.unit, self.batch_size
        )
        twin.rows = copy.deepcopy(self.rows, memo)
        return twin

    def _watched(self) -> dict[str, keras.layers.Layer]:
        if self.layers is not None:
            found = find_layers(self.model, self.layers)
        else:
            found = {
                name: layer
                for name, layer in named_layers(self.model).items()
                if isinstance(layer, RunningStatistics)
            }
            if not found:
                raise ValueError(
                    f"Model '{self.model.name}' has no layer of keras_mono to watch. "
                    "Name other layers with `layers=[...]`; it has: "
                    f"{sorted(named_layers(self.model))}."
                )
        mute = [name for name, layer in found.items() if not self._figures_of(layer)]
        if mute and (self.layers is not None or len(mute) == len(found)):
            raise ValueError(
                f"`data` must hold inputs of the model to measure the layers {mute}, "
                "which keep no activations. Received: data=None. Pass for example "
                "`MonosemanticityMonitor(x_val[:256])`."
            )
        return {name: layer for name, layer in found.items() if name not in mute}

    def _figures_of(self, layer: keras.layers.Layer) -> tuple[str, ...]:
        """Figures of a layer, as `logs` name them after the layer's name."""
        has_data = self.data is not None
        figures = list(_FIGURES) if has_data else []
        if isinstance(layer, SelectingLayer):
            penalizes = isinstance(layer, MonosemanticPenalty)
            has_threshold = isinstance(layer.select, MovingThreshold)
            if has_data or has_threshold:
                figures.append("penalized" if penalizes else "inhibited")
            if has_threshold:
                figures.append("tau")
            if penalizes:
                figures.append("penalty")
        if figures and isinstance(layer, RunningStatistics):
            figures.append("non_finite")
        return tuple(figures)

    def _measure(self, batch: int | None) -> dict[str, float]:
        # `self.model` first: on JAX it brings the variables back into the layers.
        model, watched = self.model, self._watched()
        measured = {name: _from_state(layer) for name, layer in watched.items()}
        scores = {name: _Scores(layer) for name, layer in watched.items()}
        if self.data is not None:
            record(
                model,
                self.data,
                watched,
                self.batch_size,
                lambda name, recorded: scores[name].add(recorded),
            )
            for name, score in scores.items():
                measured[name] |= score.figures()
        logs: dict[str, float] = {}
        for name, layer in watched.items():
            row: dict[str, Any] = {"epoch": self._epoch, "layer": name}
            row["reference"] = scores[name].reference
            if batch is not None:
                row["batch"] = self._batches - 1
            for figure in self._figures_of(layer):
                short = figure.removeprefix("ms_")
                row[short] = measured[name][_AS_MEASURED.get(short, short)]
                logs[f"{name}_{figure}"] = row[short]
            self.rows.append(row)
        return logs


def _from_state(layer: keras.layers.Layer) -> dict[str, float]:
    """Figures that need no forward pass."""
    figures = {}
    if isinstance(layer, RunningStatistics):
        figures["non_finite"] = float(keras.ops.convert_to_numpy(layer.non_finite))
    if isinstance(layer, MonosemanticPenalty):
        figures["penalty"] = layer.penalty
    if isinstance(layer, SelectingLayer) and isinstance(layer.select, MovingThreshold):
        state = layer.selector_state
        started = state["age"] > 0
        figures["tau"] = state["threshold"] if started else math.nan
        figures["selected"] = state["share"]
    return figures


class _Scores:
    """Collects the φ of one layer, batch by batch, and sums them up."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer
        self.running = isinstance(layer, RunningStatistics)
        self.reference = "running statistics" if self.running else "data"
        self.parts: list[np.ndarray] = []
        self.selected = self.counted = 0

    def add(self, recorded: Recorded) -> None:
        z = keras.ops.convert_to_numpy(keras.ops.cast(recorded.value, "float32"))
        if not self.running:
            self.parts.append(z)
            return
        phi = keras.ops.convert_to_numpy(self.layer.score(*recorded))
        counted = _counts(self.layer, z)
        if recorded.mask is not None:
            mask = keras.ops.convert_to_numpy(recorded.mask).astype(bool)
            counted &= mask.reshape(mask.shape + (1,) * (z.ndim - mask.ndim))
        self.parts.append(np.where(counted, phi, np.nan))
        if isinstance(self.layer, SelectingLayer):
            selected = keras.ops.convert_to_numpy(self.layer.selected(*recorded))
            self.selected += int(selected.sum())
            self.counted += int(counted.sum())

    def figures(self) -> dict[str, float]:
        values = np.concatenate(self.parts)
        figures = tail_figures(values if self.running else own_phi(values))
        if isinstance(self.layer, SelectingLayer):
            share = self.selected / self.counted if self.counted else math.nan
            figures["selected"] = share
        return figures


def _counts(layer: RunningStatistics, z: np.ndarray) -> np.ndarray:
    """Which entries the layer scores: of neurons with a history, and not too large."""
    known = keras.ops.convert_to_numpy(layer.count) >= 2
    mean = keras.ops.convert_to_numpy(layer.mean)
    return known & (np.abs(z - mean) < LARGEST_DEVIATION)  # not NaN either
