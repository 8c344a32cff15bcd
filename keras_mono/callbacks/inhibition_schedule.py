from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.model_layers import find_layers, named_layers
from keras_mono._internal.typing import Logs
from keras_mono.callbacks._steps import steps_before, steps_done
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.selecting_layer import SelectingLayer


class InhibitionSchedule(keras.callbacks.Callback):
    """Sets the strength of inhibition, or the weight of the penalty, while training.

    Calls `fn` at the beginning of every epoch (or step) and sets what it returns in
    each layer: `strength` of a `MonosemanticInhibition`, `weight` of a
    `MonosemanticPenalty`. None switches the layers off: they go on observing, but
    inhibit and add nothing. Nothing is compiled again. What is in force at the end of
    training stays in force, and is saved with the model.

    Args:
        fn: `fn(epoch)`, or `fn(step)` with `unit="step"`, both counted from 0; returns
            a number, or None for off, as `lambda epoch: 1.0 if epoch < 2 else None`
            does from the third epoch on. Steps are counted over all epochs of a `fit`,
            those before its `initial_epoch` or before a resume included; with
            `steps_per_execution` above 1 only the first of each execution (and if
            Keras does not know an epoch's length, the last execution as a whole one).
        layers: Names of the layers to set; with a path or a number as `km.status`
            shows them. None: all of this library that inhibit or penalize.
        unit: `"epoch"` or `"step"`.

    A step is a batch, also where gradients are accumulated. The steps of the epochs
    before a resume are these epochs times `steps_per_epoch`; if Keras does not know it,
    as with a generator, the smaller of the counts of the optimizer and of the layers
    that are set.

    With `unit="step"` on JAX every step waits for the one before and brings the
    variables back into the layers.

    Raises:
        ValueError: when training begins, for a name that no layer has, a layer that
            neither inhibits nor penalizes, a model without such layers, and an `fn`
            that returns neither a finite number nor None.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu"),
    ...     km.layers.MonosemanticPenalty(name="penalty"),
    ...     keras.layers.Dense(1),
    ... ])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> ramp = km.callbacks.InhibitionSchedule(lambda epoch: 0.01 * (epoch + 1))
    >>> history = model.fit(x, x[:, :1], epochs=3, callbacks=[ramp], verbose=0)
    >>> round(model.get_layer("penalty").weight, 6)
    0.03
    """

    def __init__(
        self,
        fn: Callable[[int], float | None],
        layers: Sequence[str] | str | None = None,
        unit: str = "epoch",
    ) -> None:
        super().__init__()
        if not callable(fn):
            raise ValueError(
                "`fn` must be a function of the epoch or step that returns a number or "
                f"None. Received: fn={fn!r}. Pass for example `lambda epoch: 1.0`."
            )
        if unit not in ("epoch", "step"):
            raise ValueError(f"`unit` must be 'epoch' or 'step'. Received: {unit!r}.")
        self.fn = fn
        self.layers = [layers] if isinstance(layers, str) else layers
        self.unit = unit
        self._before = 0
        self._seen: int | None = None
        self._begins = True
        self._begun = -1

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: ARG002
        self._seen = None
        self._begins = True
        self._begun = -1
        self._scheduled()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        if self.unit == "epoch":
            self._set_for(epoch)
            return
        if self._seen is None:  # not before: BackupAndRestore may come after this one
            self._seen = steps_before(epoch, self, self._scheduled())
        self._before = self._seen

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        if self.unit == "step":
            self._set_for(self._before + batch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        self._seen = self._before + steps_done(batch, self.params)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Of data of unknown length Keras may have begun a step that never came."""
        if self.unit == "step" and self._seen and self._begun >= self._seen:
            self._begins = True
            self._set_for(self._seen - 1)

    def _set_for(self, count: int) -> None:
        value, self._begun = self._value(count), count
        if self._begins and value is None:
            # A resumed run: off, but with the number that was set last before.
            earlier = (self._value(i) for i in range(count - 1, -1, -1))
            self._set(next((x for x in earlier if x is not None), None))
        self._begins = False
        self._set(value)

    def _value(self, count: int) -> float | None:
        value = self.fn(count)
        if value is None:
            return None
        if ops.is_tensor(value) or isinstance(value, np.ndarray):
            value = ops.convert_to_numpy(value)
            value = value.item() if value.ndim == 0 else value
        return validation.finite_number(f"fn({count})", value, " Return None for off.")

    def _set(self, value: float | None) -> None:
        for layer in self._scheduled():
            layer.enabled = value is not None
            if value is not None:
                is_penalty = isinstance(layer, MonosemanticPenalty)
                setattr(layer, "weight" if is_penalty else "strength", value)

    def _scheduled(self) -> list[SelectingLayer]:
        # `self.model` first: on JAX it brings the variables back into the layers.
        model = self.model
        kinds = (MonosemanticInhibition, MonosemanticPenalty)
        if self.layers is None:
            found = [x for x in named_layers(model).values() if isinstance(x, kinds)]
            if not found:
                raise ValueError(
                    f"Model '{model.name}' has no layer to schedule. Expected a "
                    "MonosemanticInhibition or MonosemanticPenalty; it has: "
                    f"{sorted(named_layers(model))}."
                )
            return found
        chosen = find_layers(model, self.layers)
        for name, layer in chosen.items():
            if not isinstance(layer, kinds):
                raise ValueError(
                    f"Layer '{name}' is a {type(layer).__name__}. Expected a "
                    "MonosemanticInhibition or MonosemanticPenalty, which have a "
                    "strength or weight to schedule."
                )
        return list(chosen.values())
