from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_mono._internal import lost_masks, recurrence, validation
from keras_mono._internal.masks import as_entries, check_fits, combine_masks
from keras_mono._internal.setting import Fixed, config_of
from keras_mono._internal.typing import Tensor
from keras_mono.backend import (
    BatchMoments,
    Statistics,
    TrainingCall,
    backend,
    counted_once,
    repeats_training,
)
from keras_mono.backend.listeners import Listeners
from keras_mono.backend.reference import LARGEST_COUNTER
from keras_mono.backend.replicas import alone, with_its_group
from keras_mono.layers.waiting_batches import WaitingBatches

BATCHES_WITHOUT_HISTORY = 8
# The others are counts and variances.
OF_ANY_SIGN = frozenset({"mean", "mean_compensation", "selector_state", "penalty"})


class Learned(NamedTuple):
    """The state after a training batch, and what the batch selects."""

    statistics: Statistics
    joined: tuple[BatchMoments, ...]  # the batches that are in `statistics` now
    # The rest is a `SelectingLayer`'s.
    selection: Any = None
    selector_state: Tensor | None = None
    num_batches: int | None = None  # of the selector, if no device has to be asked


class RunningStatistics(keras.layers.Layer):
    """Base of this library's layers: keeps mean and variance of every neuron.

    A training call learns from its batch, and stores the new state after everything
    that reads the old one. At inference it does neither, so no state moves there.

    Attributes:
        mean, variance: float32, the input's shape with 1 on the batch axis and on every
            axis that `axis` does not name. `variance` is unbiased.
        count: How many values the statistics weigh, same shape.
        max_batch_count: Most values the neuron had in one batch, same shape.
        mean_compensation: What float32 could not add to `mean`, same shape.
        step: Integer, training batches seen.
        channel_axis: The last of the input's axes that `axis` names.
        non_finite: Integer, how many entries were left out because they were NaN,
            infinite or beyond 3.6e16. It and `step` stay at 2³¹ - 1 once there.
    """

    axis = Fixed(validation.distinct_axes)
    forget_steps = Fixed(validation.positive_steps_or_none)
    variance_compensation = Fixed(validation.compensation)

    def __init__(
        self,
        axis: int | Sequence[int] | None = None,
        forget_steps: int | None = 10,
        variance_compensation: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.forget_steps = forget_steps
        self.variance_compensation = variance_compensation
        self.supports_masking = True
        self.listeners = Listeners()
        # On PyTorch, by `configure_replicas`.
        self.process_group: Any = None
        self.reduce_every = 1
        self.waiting = WaitingBatches()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **config_of(self)}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        neurons = validation.neuron_axes(self.axis, tuple(input_shape))
        rank = len(input_shape)
        self.channel_axis = neurons[-1]
        self._reduction_axes = tuple(i for i in range(rank) if i not in neurons)
        shape = tuple(input_shape[i] if i in neurons else 1 for i in range(rank))
        self._expected_shape = tuple(
            input_shape[i] if i in neurons else None for i in range(rank)
        )
        for name in Statistics._fields:
            setattr(self, name, self._statistic(name, shape))
        self.non_finite = self._statistic("non_finite", (), "int32")
        self.step = self._statistic("step", (), "int32")

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not args and kwargs.get("mask") is kwargs.get("padding_mask") is None:
            lost_masks.warn_of_lost_mask(self.name, inputs)
        # By `call`, which checks the inputs; Keras' layers would take the shape alone.
        of_operation = super(keras.layers.Layer, self).compute_output_spec
        return of_operation(inputs, *args, **kwargs)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        training: bool | None = None,
        padding_mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
    ) -> Tensor:
        if mask is None:  # if `inputs` is not the only tensor, Keras names its mask so
            mask = inputs_mask
        inputs = ops.convert_to_tensor(inputs)  # on the device that Keras computes on
        self._check_call(inputs)
        mask = combine_masks(mask, padding_mask)
        if self._is_training(training) and not self.listeners:
            return self._train(inputs, mask)
        if mask is not None:  # an error now, not in the first training call
            check_fits(inputs, mask)
        outputs = self._infer(inputs, mask, training)
        if self.listeners:
            self.listeners.hear(inputs, mask)
        return outputs

    def _train(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """What a training call does and returns."""
        self._update(inputs, mask)
        return inputs

    def _infer(
        self,
        inputs: Tensor,
        mask: Tensor | None,  # noqa: ARG002
        training: bool | None,  # noqa: ARG002
    ) -> Tensor:
        """What any other call returns; it moves no state."""
        return inputs

    @counted_once
    @with_its_group
    def _update(self, z: Tensor, mask: Tensor | None) -> None:
        self.check_present("update its statistics")
        if not TrainingCall(self).repeats:
            self._store(self._learn(z, mask))

    def _learn(self, inputs: Tensor, mask: Tensor | None) -> Learned:
        return Learned(*self._measure(inputs, mask, self.statistics())[2:])

    def _measure(
        self, inputs: Tensor, mask: Tensor | None, before: Statistics
    ) -> tuple[Tensor, BatchMoments, Statistics, tuple[BatchMoments, ...]]:
        """Squared deviations, the batch's moments, statistics, and what joined these.

        While batches wait, the moments are those of this replica.
        """
        has_history, forget = self._has_history(), self.forget_steps
        of = *as_entries(inputs, mask), before, self._reduction_axes, has_history
        if not self._waits():
            squared, batch = backend.measure(*of)
            return squared, batch, backend.merge(before, batch, forget), (batch,)
        with alone():
            squared, batch = backend.measure(*of)
        every = self.reduce_every
        joined = self.waiting.join(before, batch, forget, every, has_history)
        return squared, batch, *joined

    def _store(self, learned: Learned, **more: Tensor) -> None:
        """`more`: values of other variables, by the name of their attribute."""
        statistics, joined = learned[:2]
        skipped = [self._num_skipped(batch) for batch in joined]
        if joined:
            more = {
                name: x if len(x.shape) else backend.beside(x, skipped[-1])
                for name, x in more.items()
            }
        values = {**(statistics._asdict() if joined else {}), **more}
        backend.assign([getattr(self, name) for name in values], list(values.values()))
        for number in skipped:
            backend.count_up(self.non_finite, number, [number])
        if joined:
            scalars = [x for x in more.values() if len(x.shape) == 0]
            backend.count_up(self.step, len(joined), [skipped[-1], *scalars])

    def _num_skipped(self, batch: BatchMoments) -> Tensor:
        return batch.num_skipped

    def score(self, z: Tensor, mask: Tensor | None = None) -> Tensor:
        """φ of `z` against the running statistics; moves no state.

        Args:
            z: Activations, the shape of the layer's input.
            mask: Optional Keras mask, boolean, shape `(batch,)` to the shape of `z`.

        Returns:
            float32 without gradient, the shape of `z`; 0 at masked and non-finite
            entries, and for neurons with fewer than two values in their history.
        """
        self.check_present("score")
        with self._on_its_device():
            z, statistics = self._with_its_neurons(z), self.statistics()
            return self._squared(z, mask, statistics) * self._precision(statistics)

    def update_statistics(self, z: Tensor, mask: Tensor | None = None) -> None:
        """Learn from activations as from a training batch, and do nothing to them.

        Args:
            z, mask: As in `score`.
        """
        recurrence.check_outside(self)
        with self._on_its_device():
            self._update(self._with_its_neurons(z), mask)

    def reset(self) -> None:
        """Forget everything: statistics, step and the count of non-finite entries."""
        self.check_present("forget")
        self.waiting.clear()
        for variable in self.saved_variables():
            variable.assign(ops.zeros(variable.shape, variable.dtype))

    def rematerialized_call(self, layer_call: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Not again in the backward pass: it would save little (`keras.RematScope`)."""
        return layer_call

    def is_finite(self) -> bool:
        """False if a statistic is NaN or infinite, with which nothing is selected."""
        values = [ops.convert_to_numpy(v) for v in self.saved_variables()]
        return all(np.isfinite(value).all() for value in values)

    def check_present(self, attempt: str) -> None:
        """Raise a `RuntimeError` while a `fit` on JAX holds the layer's state.

        It moves the values out of the variables into its own state. Until `self.model`
        is read in a callback, which brings them back, a variable must not be read, and
        a value assigned to it is overwritten.
        """
        if any(backend.is_held_by_fit(variable) for variable in self.saved_variables()):
            raise RuntimeError(
                f"Layer '{self.name}' cannot {attempt} now: on JAX a running `fit` "
                "keeps the values of all variables itself. In a callback use "
                "`self.model` before (for example "
                f"`self.model.get_layer({self.name!r})`), which brings them back into "
                "the layers, or an `InhibitionSchedule` to change `strength`, `weight` "
                "or `enabled`."
            )

    def save_own_variables(self, store: Any) -> None:
        self.check_present("be saved")
        for variable in self.saved_variables():
            store[variable.name] = keras.ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        expected = {v.name: v for v in self.saved_variables()}
        found = set(store.keys())
        if found != set(expected):
            raise ValueError(
                f"Layer '{self.name}' expected the saved variables {sorted(expected)}. "
                f"Received: {sorted(found)}. Load weights that were saved from a "
                f"{type(self).__name__}, or build the layer before loading."
            )
        values = {name: np.asarray(store[name]) for name in expected}
        self.check_saved(values)
        self.check_present("be loaded")
        self.waiting.clear()
        for name, variable in expected.items():
            variable.assign(values[name].astype(variable.dtype))

    def check_saved(self, values: Mapping[str, Any]) -> None:
        """Raise a `ValueError` for values that these statistics cannot have.

        Args:
            values: Arrays by the names of `saved_variables`.
        """
        variables = {v.name: v for v in self.saved_variables()}
        for name, value in values.items():
            shape = tuple(variables[name].shape)
            if tuple(value.shape) != shape:
                raise ValueError(
                    f"Layer '{self.name}' expected `{name}` of shape {shape}. "
                    f"Received: {tuple(value.shape)}. Load weights of a layer with the "
                    "same input shape and `axis`."
                )
            low = None if name in OF_ANY_SIGN else 0
            high = LARGEST_COUNTER if variables[name].dtype == "int32" else None
            validation.saved_numbers(self.name, name, value, low, high)

    def _statistic(
        self, name: str, shape: tuple[int | None, ...], dtype: str = "float32"
    ) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def saved_variables(self) -> list[keras.Variable]:
        """Everything that is saved, by name, so that the order may change.

        Settings, such as a strength, are not: they are part of the config.
        """
        if not self.built:
            return []
        kept = [getattr(self, name) for name in Statistics._fields]
        return [*kept, self.non_finite, self.step]

    def statistics(self) -> Statistics:
        """The running statistics of this moment, as tensors."""
        values = (getattr(self, name).value for name in Statistics._fields)
        return Statistics(*map(backend.held, values))

    def _precision(self, statistics: Statistics) -> Tensor:
        return backend.precision(statistics, self.variance_compensation)

    def _squared(
        self, z: Tensor, mask: Tensor | None, statistics: Statistics
    ) -> Tensor:
        """Squared deviations from the mean, 0 at entries that do not count."""
        z, mask = as_entries(z, mask)
        valid = backend.valid(z, mask)
        return ops.square(backend.deviation(z, valid, statistics))

    def _has_history(self) -> bool | None:
        """None if that is not known without waiting for the device.

        Whether each neuron has a value is not known either: the first batches may have
        been masked. So several are measured from their own means.
        """
        step = backend.known(self.step)
        return None if step is None else step >= BATCHES_WITHOUT_HISTORY

    def _waits(self) -> bool:
        """Whether batches wait for a reduction; not while `calibrate` runs."""
        if self.reduce_every == 1 or self.listeners:
            return False
        return backend.num_replicas() > 1

    def should_update(self, training: bool | None) -> bool:
        """Whether a call in this mode moves the statistics or is listened to."""
        if self.listeners:  # not `bool`, which PyTorch 2.11 does not compile
            return True
        return self._is_training(training)

    def _is_training(self, training: bool | None) -> bool:
        if training is None:
            training = repeats_training(self)
        return bool(training) and self.trainable

    def _check_call(self, inputs: Tensor) -> None:
        """What must hold before anything is done, at every call.

        One outside a recurrence says nothing of the next.
        """
        recurrence.check_outside(self)
        self._check_shape(tuple(inputs.shape))
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if "float" not in dtype:
            raise ValueError(
                f"Layer '{self.name}' measures activations and expected a float input. "
                f"Received: dtype={dtype}. Put it after a layer with float outputs, or "
                "cast the input, for example `keras.ops.cast(x, 'float32')`."
            )

    def _on_its_device(self) -> AbstractContextManager[Any]:
        """Keras computes where the statistics are: an adapter's may be elsewhere."""
        return backend.device_of(self.mean) if self.built else nullcontext()

    def _with_its_neurons(self, z: Any) -> Tensor:
        """Activations that a method takes without a call, as a tensor."""
        z = ops.convert_to_tensor(z)
        if not self.built:
            self.build(tuple(z.shape))
        self._check_shape(tuple(z.shape))
        return z

    def _check_shape(self, shape: tuple[Any, ...]) -> None:
        """The layer keeps a statistic an index, so the neurons cannot change."""
        expected = self._expected_shape
        if len(shape) == len(expected) and all(
            n is None or not isinstance(given, int) or given == n
            for given, n in zip(shape, expected, strict=True)
        ):
            return
        raise ValueError(
            f"Layer '{self.name}' was built for inputs of shape {expected}, where None "
            f"may vary. Received: an input of shape {shape}. Use another layer for "
            "other activations."
        )
