import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mono import selectors
from keras_mono._internal import validation
from keras_mono._internal.setting import Fixed, Setting, build_settings, settings_of
from keras_mono._internal.typing import Tensor
from keras_mono.backend import (
    BatchMoments,
    Statistics,
    backend,
)
from keras_mono.backend.replicas import with_its_group
from keras_mono.layers.running_statistics import RunningStatistics


class Learned(NamedTuple):
    """What a training batch selects, and the state after it."""

    selected: Tensor  # boolean
    reference: Statistics  # that the batch was scored against
    updated: Statistics
    joined: tuple[BatchMoments, ...]  # the batches that are in `updated` now
    selector_state: Tensor | None
    num_batches: int | None  # of the selector, where known without asking the device
    valid: Tensor | None  # which entries count, where the backend keeps it


class SelectingLayer(RunningStatistics):
    """Base of the layers that do something to the most monosemantic activations.

    Subclasses call `_learn` on a training batch, act on what it selects, and
    `_store_learned` the rest last.

    Attributes:
        enabled: False while the layer is switched off, as by an `InhibitionSchedule`.
            Then nothing is selected; statistics move on. It may be set at any time.
        selector_state: What the selector remembers, by name, as floats; for a
            `MovingThreshold` among others `threshold` (τ) and `selected_fraction` (of
            the latest training batch).
    """

    enabled = Setting(
        validation.truth, "Whether anything may be selected. May be set at any time."
    )
    select = Fixed(lambda _, select: selectors.get(select))
    start_step = Fixed(validation.positive_steps)
    include_current_batch = Fixed(validation.truth)

    def __init__(
        self,
        select: int | float | selectors.Selector,
        axis: int | Sequence[int] | None = None,
        forget_steps: int | None = 10,
        start_step: int = 10,
        variance_compensation: float = 0.01,
        include_current_batch: bool = False,
        enabled: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(axis, forget_steps, variance_compensation, **kwargs)
        self.select = select
        self.start_step = start_step
        self.include_current_batch = include_current_batch
        self.enabled = enabled
        self._has_seen_a_shape = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.select.check(tuple(input_shape), self.channel_axis)
        ranked: Any = self.select.ranked(tuple(input_shape), self.channel_axis)
        self._ranked_activations = None if None in ranked else math.prod(ranked)
        size = len(self.select.state_names)
        self._selector_state = (
            self._statistic("selector_state", (size,)) if size else None
        )
        build_settings(self)

    @property
    def weights(self) -> list[keras.Variable]:
        """What is learned, without the settings: for `get_weights` and `set_weights`.

        Settings are variables only so that a compiled step sees them change.
        """
        return self._without_settings(super().weights)

    @property
    def variables(self) -> list[keras.Variable]:
        """All state that a step needs as arguments."""
        found: list[keras.Variable] = super().variables
        if backend.variables_are_parameters():
            # These become a module's parameters, for `load_state_dict` to overwrite.
            found = self._without_settings(found)
        return found

    def _without_settings(self, variables: list[keras.Variable]) -> Any:
        settings = {id(v) for v in settings_of(self).values()}
        return [v for v in variables if id(v) not in settings]

    @property
    def selector_state(self) -> dict[str, float]:
        names = self.select.state_names
        if not self.built or self._selector_state is None:
            return dict.fromkeys(names, 0.0)
        self.check_present("tell `selector_state`")
        values = ops.convert_to_numpy(self._selector_state)
        return dict(zip(names, values.tolist(), strict=True))

    def _learn_only(self, z: Tensor, mask: Tensor | None) -> None:
        self._store_learned(self._learn(z, mask))

    def ranked_activations(self) -> int | None:
        """How many activations `TopK` ranks together; None if that may vary."""
        return self._ranked_activations

    def selected(self, z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Which of the activations `z` the layer would select now; moves no state.

        Args:
            z: Activations, the shape of the layer's input.
            mask: Optional Keras mask, boolean, shape `(batch,)` to the shape of `z`.

        Returns:
            Boolean tensor, the shape of `z`; all False before `start_step` and while
            the layer is not `enabled`.
        """
        self.check_present("select")
        return self._frozen_selection()(ops.convert_to_tensor(z), mask)

    def _tell_of_single_entries(self, shape: tuple[int | None, ...]) -> None:
        """Warn if no neuron can vary within the first training batch."""
        if self._has_seen_a_shape or backend.is_compiling():
            return
        entries = [shape[i] for i in self._reduction_axes]
        if not all(isinstance(n, int) for n in entries):
            return
        self._has_seen_a_shape = True
        if set(entries) == {1} and backend.num_replicas() == 1:
            warnings.warn(
                f"Layer '{self.name}' changes nothing: in a batch of shape {shape} a "
                "neuron has one entry, and what does not vary in a batch is not "
                "pulled. Train with a larger batch size.",
                stacklevel=3,
            )

    def _statistics(self) -> list[keras.Variable]:
        kept = self._selector_state if self.built else None
        return [*super()._statistics(), *([] if kept is None else [kept])]

    def _frozen_selection(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """What the statistics of this moment select, as a function of z and mask."""
        # Copies: PyTorch and TensorFlow change these tensors in place.
        statistics = Statistics(*map(ops.copy, self.statistics()))
        weight = self._precision(statistics) * self._is_on()
        state = self._current_selector_state()
        state = None if state is None else ops.copy(state)

        def select(z: Tensor, mask: Tensor | None) -> Tensor:
            phi = self._squared(z, mask, statistics) * weight
            selected = self.select(phi, self.channel_axis, state)
            self._check_selected(selected, phi)
            return selected

        return select

    def _check_selected(self, selected: Tensor, phi: Tensor) -> None:
        name = type(self.select).__name__
        validation.check_marks(
            selected, phi, f"`{name}` in '{self.name}' must mark the shape of `phi`"
        )

    @with_its_group
    def _learn(self, inputs: Tensor, mask: Tensor | None) -> Learned:
        before = self.statistics()
        squared, batch = self._measure(inputs, mask, before)
        updated, joined = self._merge(before, batch)
        reference = before
        if self.include_current_batch:
            reference = updated
            squared = self._squared(inputs, mask, updated)
        is_on, state = self._is_on(), self._current_selector_state()
        precision = self._precision(reference)
        if not isinstance(is_on, float) or not is_on:
            precision = precision * is_on
        phi = backend.phi(squared, precision)
        number = None
        if state is None:
            selected = self.select(phi, self.channel_axis)
        else:
            counted = (joined[-1] if joined else batch).num_entries
            waits = len(joined) == 0  # `not joined` cannot be compiled
            selected, state, number = self._update_selector(
                phi, counted, state, is_on, waits
            )
        self._check_selected(selected, phi)
        return Learned(selected, reference, updated, joined, state, number, batch.valid)

    def _update_selector(
        self, phi: Tensor, counted: Tensor, state: Tensor, is_on: Any, waits: bool
    ) -> tuple[Tensor, Tensor, int | None]:
        """Selection, state and number of batches; the old ones while it is off.

        They stay too while the batch `waits` for a reduction.
        """
        number = None
        waited = None if waits else self.waiting.take_counts()
        if self.select.counts_every_batch:
            index = self.select.state_names.index("num_batches")
            number = backend.known(self._selector_state, index)
        if isinstance(is_on, float):
            if not is_on:
                return ops.zeros_like(phi, "bool"), self._while_off(state), number
            is_on = None
        axis = self.channel_axis
        if waits:
            selected = self.select(phi, axis, state)
            counted = counted if is_on is None else counted * is_on
            self.waiting.add_counts(selected, counted)
            return selected, state, number
        number = None if number is None else int(number)
        has_waited = waited is not None and self.select.counts_waited
        more = {"waited": waited} if has_waited else {}
        selected, new = self.select.update(phi, counted, state, axis, number, **more)
        if is_on is not None:
            new = ops.where(is_on > 0.0, new, self._while_off(state))
        return selected, new, None if number is None else number + 1

    def _while_off(self, state: Tensor) -> Tensor:
        """The selector's state, of which the latest selected fraction is 0."""
        names = self.select.state_names
        if "selected_fraction" not in names:
            return state
        return backend.replaced(state, names, selected_fraction=0.0)

    def _store_learned(self, learned: Learned, **more: Tensor) -> None:
        # Last: PyTorch and TensorFlow change the tensors of the history in place.
        if self._selector_state is not None:
            more["_selector_state"] = learned.selector_state
        self._store(learned.updated, learned.joined, **more)
        if learned.num_batches is not None:
            backend.remember(self._selector_state, learned.num_batches)

    def _is_on(self) -> Any:
        """1 if anything may be selected, else 0, which makes every φ 0.

        Nothing is before the statistics hold `start_step` batches. A float where that
        is known without asking the device.
        """
        step = backend.known(self.step)
        if step is not None:
            return float(step >= self.start_step and self.enabled)
        started = ops.cast(self.step.value >= self.start_step, "float32")
        return started * ops.convert_to_tensor(self._enabled)

    def _current_selector_state(self) -> Tensor | None:
        return None if self._selector_state is None else self._selector_state.value
