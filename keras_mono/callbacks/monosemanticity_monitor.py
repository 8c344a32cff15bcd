import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from keras_mono._internal import validation
from keras_mono._internal.data import batches, check, repeatable
from keras_mono._internal.forward import forward
from keras_mono._internal.model_layers import (
    find_layers,
    monosemantic_layers,
    named_layers,
)
from keras_mono._internal.optional_imports import require
from keras_mono._internal.plotting.tail_over_training import tail_over_training
from keras_mono._internal.recording.record import NeverCalledError, record_batches
from keras_mono._internal.snapshot import Snapshot
from keras_mono._internal.typing import Logs
from keras_mono.callbacks._collapse import Collapse
from keras_mono.callbacks._others import (
    before_and_after,
    check_patience,
    tell_of_readers,
)
from keras_mono.callbacks._scores import Scores, figures_from_state, figures_of
from keras_mono.callbacks._steps import steps_before, steps_done, steps_seen


class MonosemanticityMonitor(keras.callbacks.Callback):
    """Shows during `fit` how monosemantic the neurons of each watched layer are.

    Runs the model on `data` at inference and writes these figures of each layer NAME
    into `logs`, so that `History`, `CSVLogger`, the progress line and every logger
    after it in `callbacks` carry them:

    - `NAME_ms_top1`: the largest φ of a sample, averaged over the samples;
    - `NAME_ms_threshold`: the φ that 2 % of the activations exceed;
    - `NAME_ms_tail`: the mean of the 2 % largest φ;
    - `NAME_ms_kurtosis`: the mean of φ²;
    - `NAME_scale`: the mean standard deviation of the neurons on `data`, relative to
      the first measurement of this `fit`; 0 where no neuron varies;
    - `NAME_dead`: the share of neurons that are constant on `data`, but for rounding;
    - `NAME_inhibited`, of a `MonosemanticPenalty` `NAME_penalized`: the share of
      `data`'s activations that the layer's present statistics (and τ) select: 0 before
      its `start_step` and while it is switched off.

    and these from the layers' state, which need no `data`:

    - `NAME_tau`: τ of a `MovingThreshold` (infinite before `start_step`);
    - `NAME_penalty`: what a `MonosemanticPenalty` added to the loss of the latest
      training batch (in its latest call, where a model calls it several times), or
      its mean φ if it adds nothing (`form="relative"`);
    - `NAME_non_finite`: how many entries a layer of this library has left out so far,
      because they were NaN, infinite or beyond 3.6e16;
    - without `data`, `NAME_inhibited` or `NAME_penalized` is the share that a
      `MovingThreshold` selected of the latest training batch.

    The reference of φ: for a layer of this library its running statistics, which come
    from the training batches, and only for neurons with a history (NaN before any); for
    any other layer the mean and variance of its outputs on `data` itself, every
    position of a sample being a neuron. Do not compare figures with different
    references: to watch a plain model, put `MonosemanticScale` in it. Masked entries
    count in no figure of a layer of this library; other layers' masks are not seen.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1; the 2 % is L2E's (arXiv:2503.23298).

    Args:
        data: The model's inputs: arrays or tensors, or a dataset, loader or generator
            of batches, as for `analysis.activations` (what can be read once only is
            kept in memory). A few hundred held-out samples will do. None: only the
            figures from the layers' state, which cost no forward pass.
        layers: Names of the layers to watch; with a path or a number as `km.status`
            shows them. None: all layers of this library (without `data`, those that
            have a figure).
        every: Measure at every so many epochs (batches), counted from 0, and at the
            first of a `fit`: with 2 at 0, 2 and 4; resumed at 3, at 3 and 4. In between
            nothing is computed: the logs of every epoch hold the latest figures.
        unit: `"epoch"` or `"batch"`: what `every` counts. By batch, the figures stand
            in the batch's logs too.
        batch_size: Samples per forward pass; not used for data that give batches.
        steps: How many batches of `data` to take. None: all.
        model: The part of the model to watch and to run on `data`, such as
            `vae.encoder`, where the model itself cannot be called on inputs. None: the
            model that is trained.
        prefix: What the keys begin with, to tell two monitors of a `fit` apart.

    Raises:
        ValueError: before training, by a run on the first batch of `data`, for a name
            that no layer has (the names are listed), for a model without layers to
            watch or without a `call`, for named layers that the forward pass does not
            reach, for two monitors that write the same keys, for a callback whose
            patience ends before the next measurement, and, without `data`, for a layer
            that has no figure of its own.

    Warns:
        UserWarning: of callbacks that read the logs before the monitor has written
            them, of layers of this library that `data` does not reach (they are not
            watched), and of those that saw no training batch in the first epoch. And,
            once a layer and `fit`, of a layer whose activations are all NaN or
            infinite, and of one that collapses: its scale falls below a fifth and does
            not grow, or half of its neurons die (docs/monitor.md has the criterion).

    Attributes:
        rows: One dict per measurement and layer: `epoch`, `batch`, `layer`, `reference`
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

    # What ends a training that gives nothing finite.
    _ending = " `keras.callbacks.TerminateOnNaN()` ends such a training."

    def __init__(
        self,
        data: Any = None,
        layers: Sequence[str] | None = None,
        every: int = 1,
        unit: str = "epoch",
        batch_size: int = 128,
        steps: int | None = None,
        model: keras.layers.Layer | None = None,
        prefix: str = "",
    ) -> None:
        super().__init__()
        if unit not in ("epoch", "batch"):
            raise ValueError(f"`unit` must be 'epoch' or 'batch'. Received: {unit!r}.")
        self.data = data
        self.layers = [layers] if isinstance(layers, str) else layers
        self.every = validation.positive_integer("every", every, f"of {unit}s")
        self.unit = unit
        self.batch_size = validation.positive_integer(
            "batch_size", batch_size, "of samples"
        )
        self.steps = steps
        if steps is not None:
            self.steps = validation.positive_integer("steps", steps, "of batches")
        if not (model is None or isinstance(model, keras.layers.Layer)):
            raise ValueError(
                "`model` must be a Keras model, a part of the one that is trained. "
                f"Received: {model!r}. Pass for example `model=vae.encoder`."
            )
        self.part = model
        if not isinstance(prefix, str):
            raise ValueError(f"`prefix` must be a string. Received: {prefix!r}.")
        self.prefix = prefix
        # With `unit="epoch"` Keras need not wait for the end of each batch.
        self.async_safe = unit == "epoch"
        self._forget()

    def _forget(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._keys: set[str] = set()
        self._latest: dict[str, float] = {}
        self._collapses: dict[str, Collapse] = {}
        self._not_finite: set[str] = set()
        self._uncalled: set[str] = set()
        self._has_told_of_uncalled = False
        self._epoch = 0
        self._steps_at_first: dict[str, int] | None = None
        self._batches = 0
        self._batches_before = 0

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002
        self._forget()
        self._watched()
        if self.data is not None:
            check(self.data, self.batch_size, self.steps)
            self.data = repeatable(self.data, self.batch_size, self.steps)
            self._try_data()
        self._keys = {
            self._key(name, figure)
            for name, layer in self._watched().items()
            for figure in self._figures_of(layer)
        }
        self._check_others()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        self._epoch = epoch
        if self._steps_at_first is None:
            # Not before: BackupAndRestore may come after the monitor.
            self._steps_at_first = self._steps()
            if self.unit == "batch":
                self._batches = steps_before(epoch, self, self._watched().values())
        self._batches_before = self._batches

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.unit != "batch":
            return
        due = -(-self._batches // self.every) * self.every  # next multiple of `every`
        self._batches = self._batches_before + steps_done(batch, self.params)
        if due < self._batches or not self.rows:
            self._latest = self._measure()
            if logs is not None:
                logs.update(self._latest)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.unit == "epoch" and (epoch % self.every == 0 or not self.rows):
            self._latest = self._measure()
        if logs is not None:
            logs.update(self._latest)
        if self._steps_at_first:
            self._tell_of_layers_without_batches(self._steps_at_first)
            self._steps_at_first = {}

    def to_frame(self) -> Any:
        """The measurements as a pandas `DataFrame`, one row per measurement and layer.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        return require("pandas").DataFrame(self.rows)

    def plot(self) -> Any:
        """The figures over training as a matplotlib `Figure`, one panel per figure.

        Raises:
            ImportError: if matplotlib is missing, naming the extra.
            ValueError: if nothing has been measured.
        """
        return tail_over_training(self.rows, self.unit)

    def __deepcopy__(self, memo: dict[int, Any]) -> "MonosemanticityMonitor":
        """A monitor with the same settings and its own rows, not tied to a model."""
        twin = copy.copy(self)
        twin.set_model(None)
        twin.set_params(None)
        twin._forget()
        twin.rows = copy.deepcopy(self.rows, memo)
        return twin

    def _target(self) -> keras.layers.Layer:
        # `self.model` first: on JAX it brings the variables back into the layers.
        model = self.model
        return model if self.part is None else self.part

    def _watched(self) -> dict[str, keras.layers.Layer]:
        model = self._target()
        if self.layers is not None:
            found = find_layers(model, self.layers)
        else:
            found = monosemantic_layers(model)
            if not found:
                raise ValueError(
                    f"Model '{model.name}' has no layer of keras_mono to watch. "
                    "Name other layers with `layers=[...]`; it has: "
                    f"{sorted(named_layers(model))}."
                )
        mute = [name for name, layer in found.items() if not self._figures_of(layer)]
        if mute and (self.layers is not None or len(mute) == len(found)):
            raise ValueError(
                f"`data` must hold inputs of the model to measure the layers {mute}, "
                "which keep no activations. Received: data=None. Pass for example "
                "`MonosemanticityMonitor(x_val[:256])`."
            )
        left_out = self._uncalled.union(mute)
        return {name: layer for name, layer in found.items() if name not in left_out}

    def _figures_of(self, layer: keras.layers.Layer) -> tuple[str, ...]:
        return figures_of(layer, self.data is not None)

    def _key(self, name: str, figure: str) -> str:
        return f"{self.prefix}{name}_{figure}"

    def _measure(self) -> dict[str, float]:
        watched = self._watched()
        scores = {name: Scores(layer) for name, layer in watched.items()}
        measured = {name: figures_from_state(layer) for name, layer in watched.items()}
        if self.data is not None:
            try:
                self._run(self._inputs(), scores)
            except NeverCalledError as error:  # in this epoch, though not in the first
                self._tell_of_uncalled(error.layers, "Their figures are NaN.")
            self._tell_of_nothing_finite(scores)
            for name, score in scores.items():
                measured[name] |= score.figures()
                measured[name] |= self._collapse(name, score).follow(
                    score.spread(), self._now()
                )
        logs: dict[str, float] = {}
        for name, layer in watched.items():
            row: dict[str, Any] = {
                "epoch": self._epoch,
                "layer": name,
                "reference": scores[name].reference,
            }
            if self.unit == "batch":
                row["batch"] = self._batches - 1
            for figure in self._figures_of(layer):
                short = figure.removeprefix("ms_")
                row[short] = measured[name][short]
                logs[self._key(name, figure)] = row[short]
            self.rows.append(row)
        return logs

    def _collapse(self, name: str, score: Scores) -> Collapse:
        return self._collapses.setdefault(name, Collapse(name, score.layer))

    def _now(self) -> str:
        """The time of this measurement, counted as Keras shows it."""
        at_batch = self.unit == "batch"
        return f"batch {self._batches}" if at_batch else f"epoch {self._epoch + 1}"

    def _inputs(self) -> Iterator[Any]:
        return batches(self.data, self.batch_size, self.steps)

    def _run(self, inputs: Iterable[Any], scores: dict[str, Scores]) -> None:
        model = self._target()
        watched = {name: score.layer for name, score in scores.items()}
        # Some models draw random numbers at inference; training must not notice.
        seeds = [v for v in model.variables if v.name == "seed_generator_state"]
        before = Snapshot(seeds)
        try:
            record_batches(
                model,
                inputs,
                watched,
                lambda name, recorded: scores[name].add(recorded),
            )
        finally:
            before.restore()

    def _try_data(self) -> None:
        """Raise errors before training that would occur after its first epoch."""
        model, batch = self._target(), next(self._inputs())
        scores = {name: Scores(layer) for name, layer in self._watched().items()}
        try:
            if not model.built:  # as a subclassed model on TensorFlow before training
                forward(model, batch)
            self._run([batch], scores)
        except NeverCalledError as error:
            if self.layers is not None or len(error.layers) == len(scores):
                raise
            self._uncalled = set(error.layers)
            self._tell_of_uncalled(error.layers, "They are not watched.")
        except NotImplementedError as error:
            raise ValueError(
                f"Model '{model.name}', or a layer in it, has no `call`, so it cannot "
                "be run on `data`. Watch a part of it and give that part's inputs, for "
                "example `MonosemanticityMonitor(x, model=vae.encoder)`; it has: "
                f"{sorted(x.name for x in getattr(model, 'layers', []))}."
            ) from error
        except Exception as error:
            error.add_note(
                "MonosemanticityMonitor ran the model on the first batch of `data` "
                "before training. `data` must hold inputs that the model, or the part "
                "of it given as `model`, can be called on, without labels."
            )
            raise
        for name, score in scores.items():
            self._collapse(name, score).begin(score.spread())

    def _tell_of_uncalled(self, layers: list[str], consequence: str) -> None:
        if self._has_told_of_uncalled:
            return
        self._has_told_of_uncalled = True
        warnings.warn(
            f"The forward pass of model '{self._target().name}' on `data` does not "
            f"call the layers {layers}. {consequence} To watch them, give the part of "
            "the model that calls them as `model`; without `data` only their state is "
            "read.",
            stacklevel=4,  # Keras, which runs the callback
        )

    def _tell_of_nothing_finite(self, scores: dict[str, Scores]) -> None:
        broken = [n for n, x in scores.items() if x.parts and not x.is_finite]
        new = [name for name in broken if name not in self._not_finite]
        if new:
            self._not_finite.update(new)
            warnings.warn(
                f"All activations of the layers {new} on `data` are NaN or "
                f"infinite in {self._now()}, so that most of their figures are NaN. "
                f"Lower the learning rate, or look for NaN in the data.{self._ending}",
                stacklevel=4,  # Keras, which runs the callback
            )

    def _check_others(self) -> None:
        """Find other callbacks that would miss the figures or misread them."""
        before, after = before_and_after(self)
        readers = []
        for other in before:
            if not isinstance(other, MonosemanticityMonitor):
                readers.append(other)
            elif shared := sorted(self._keys & other._keys):
                raise ValueError(
                    "Two monitors of one `fit` must write different keys into `logs`. "
                    f"Both write: {shared}. Give one a prefix, for example "
                    "`MonosemanticityMonitor(x_val, prefix='val_')`, or other `layers`."
                )
        epochs_between = self.every
        if self.unit == "batch":
            steps = (self.params or {}).get("steps") or self.every
            epochs_between = -(-self.every // steps)
        check_patience(after, self._keys, epochs_between)
        tell_of_readers(readers, self._keys, self.unit)

    def _steps(self) -> dict[str, int]:
        """Training batches seen, by layer, of the layers that should see some."""
        return {
            name: steps_seen(layer)
            for name, layer in monosemantic_layers(self._target()).items()
            if layer.trainable
            and name not in self._uncalled
            and (self.layers is None or name in self.layers)
        }

    def _tell_of_layers_without_batches(self, before: dict[str, int]) -> None:
        now = self._steps()
        still = [name for name, steps in before.items() if steps == now.get(name)]
        if still:
            warnings.warn(
                f"The layers {still} saw no training batch in the first epoch: they "
                "learn nothing and do nothing. They must be called with "
                "`training=True`: look for a `call` that hands on `training=False`, or "
                "a `train_step` that calls the model without `training=True`. If this "
                "is meant, freeze the layers with `trainable=False`.",
                stacklevel=3,  # Keras, which runs the callback
            )
