import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mono import selectors
from keras_mono._internal import validation
from keras_mono._internal.masks import as_entries
from keras_mono._internal.setting import Fixed, Setting, build_settings, settings_of
from keras_mono._internal.typing import Tensor
from keras_mono.backend import (
    BatchMoments,
    Statistics,
    TrainingCall,
    backend,
    counted_once,
)
from keras_mono.backend.replicas import with_its_group
from keras_mono.layers.running_statistics import Learned, RunningStatistics

_REENTRANT = (
    "Layer '{}' adds to the loss, and torch.utils.checkpoint with use_reentrant=True "
    "computes it without a gradient. Pass use_reentrant=False: "
    "`checkpoint(block, x, use_reentrant=False)`, in HuggingFace transformers "
    "`model.gradient_checkpointing_enable(gradient_checkpointing_kwargs="
    '{{"use_reentrant": False}})`.'
)


class Selection(NamedTuple):
    """What is selected of a batch, and what `_act` needs for it."""

    selected: Tensor  # boolean
    mean: Tensor  # of the neurons, from the statistics that scored the batch
    mean_compensation: Tensor
    factor: Any  # strength or weight
    batch: BatchMoments | None = None  # over all replicas, where they are known

    def copied(self) -> "Selection":
        """For a call that repeats this one, when the statistics have moved on."""
        selected, mean, rest = (ops.copy(x) for x in self[:3])
        batch = None if self.batch is None else self.batch.copied()
        return Selection(selected, mean, rest, self.factor, batch)


class SelectingLayer(RunningStatistics):
    """Base of the layers that do something to the most monosemantic activations.

    A training call learns from its batch, does what the subclass says in `_act` to what
    the batch selects, and stores the new state last.

    Attributes:
        enabled: False while the layer is switched off, as by an `InhibitionSchedule`.
            Then nothing is selected; statistics move on. It may be set at any time.
        selector_state: What the selector remembers, by name, as floats; for a
            `MovingThreshold` among others `threshold` (τ) and `selected_fraction` (of
            the latest training batch).
    """

    _acts_by: str  # the setting that is the factor in `_act`
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

    def saved_variables(self) -> list[keras.Variable]:
        kept = self._selector_state if self.built else None
        return [*super().saved_variables(), *([] if kept is None else [kept])]

    @property
    def selector_state(self) -> dict[str, float]:
        names = self.select.state_names
        if not self.built or self._selector_state is None:
            return dict.fromkeys(names, 0.0)
        self.check_present("tell `selector_state`")
        values = ops.convert_to_numpy(self._selector_state)
        return dict(zip(names, values.tolist(), strict=True))

    @property
    def adds_to_loss(self) -> bool:
        """Whether a training call adds to the loss."""
        return False

    def ranked_activations(self) -> int | None:
        """How many activations `TopK` ranks together; None if that may vary."""
        return self._ranked_activations

    def selected(self, z: Tensor, mask: Tensor | None = None) -> Tensor:
        """Which of the activations `z` the layer would select now; moves no state.

        Args:
            z, mask: As in `score`.

        Returns:
            Boolean tensor, the shape of `z`; all False before `start_step` and while
            the layer is not `enabled`.
        """
        self.check_present("select")
        with self._on_its_device():
            z = self._with_its_neurons(z)
            return self._frozen_selection()(z, mask)

    def _act(
        self, inputs: Tensor, mask: Tensor | None, selection: Selection
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What becomes of a batch, and scalars to store, by their attributes' names.

        Of each scalar the mean over the replicas is stored.
        """
        raise NotImplementedError

    def _valid(
        self, inputs: Tensor, mask: Tensor | None, batch: BatchMoments | None
    ) -> Tensor:
        """Which entries count, from what was measured of the batch if it was kept."""
        if batch is None or batch.valid is None:
            return backend.valid(*as_entries(inputs, mask))
        return batch.valid

    def _factor(self) -> Any:
        """The factor in force, a number where no device has to be asked."""
        setting = getattr(self, f"_{self._acts_by}")
        known = backend.known(setting)
        # A copy: it may be set before the gradient is computed.
        return ops.copy(setting.value) if known is None else known

    @counted_once
    @with_its_group
    def _train(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        call = TrainingCall(self)
        if call.repeats:
            return self._act(inputs, mask, call.kept())[0]
        if call.without_gradient and self.adds_to_loss:
            raise RuntimeError(_REENTRANT.format(self.name))
        learned = self._learn(inputs, mask)
        if call.may_be_repeated:
            call.keep(learned.selection.copied())
        result, scalars = self._act(inputs, mask, learned.selection)
        # Last: PyTorch and TensorFlow change the tensors of the history in place.
        self._store(learned, **scalars)
        return result

    def _learn(self, inputs: Tensor, mask: Tensor | None) -> Learned:
        before = self.statistics()
        squared, batch, updated, joined = self._measure(inputs, mask, before)
        reference = before
        if self.include_current_batch:
            reference = updated
            squared = self._squared(inputs, mask, updated)
        is_on = self._is_on()
        precision = self._precision(reference)
        if is_on is not True:
            precision = precision * is_on
        phi = backend.phi(squared, precision)
        selected, state, number = self._select(phi, batch, joined, is_on)
        self._check_selected(selected, phi)
        mean = reference.mean, reference.mean_compensation
        known = None if self._waits() else batch
        selection = Selection(selected, *mean, self._factor(), known)
        return Learned(updated, joined, selection, state, number)

    def _select(
        self, phi: Tensor, batch: BatchMoments, joined: Sequence[BatchMoments], on: Any
    ) -> tuple[Tensor, Tensor | None, int | None]:
        """Selection, the selector's state and its number of batches after the batch.

        State and number are the old ones while the layer is off, and while the batch
        waits for a reduction.
        """
        state, axis = self._current_selector_state(), self.channel_axis
        if state is None:
            return self.select(phi, axis), None, None
        number = self._num_batches()
        waits = len(joined) == 0  # `not joined` cannot be compiled
        waited = None if waits else self.waiting.take_counts()
        if on is False:
            return ops.zeros_like(phi, "bool"), self._while_off(state), number
        if waits:
            selected = self.select(phi, axis, state)
            self.waiting.add_counts(selected, batch.num_entries * on)
            return selected, state, number
        has_waited = waited is not None and self.select.counts_waited
        more = {"waited": waited} if has_waited else {}
        counted = joined[-1].num_entries
        selected, new = self.select.update(phi, counted, state, axis, number, **more)
        if on is not True:
            new = ops.where(on > 0.0, new, self._while_off(state))
        return selected, new, None if number is None else number + 1

    def _num_batches(self) -> int | None:
        """That the selector has counted, where no device has to be asked."""
        if not self.select.counts_every_batch:
            return None
        index = self.select.state_names.index("num_batches")
        number = backend.known(self._selector_state, index)
        return None if number is None else int(number)

    def _while_off(self, state: Tensor) -> Tensor:
        """The selector's state, of which the latest selected fraction is 0."""
        names = self.select.state_names
        if "selected_fraction" not in names:
            return state
        return backend.replaced(state, names, selected_fraction=0.0)

    def _num_skipped(self, batch: BatchMoments) -> Tensor:
        if batch.skipped_by_rows is None:
            return batch.num_skipped
        return batch.skipped_by_rows

    def _store(self, learned: Learned, **more: Tensor) -> None:
        means = {
            name: backend.all_reduce_mean(ops.stop_gradient(scalar))
            for name, scalar in more.items()
        }
        if self._selector_state is not None:
            means["_selector_state"] = learned.selector_state
        super()._store(learned, **means)
        if learned.num_batches is not None:
            backend.remember(self._selector_state, learned.num_batches)

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
        def expected() -> str:  # of a name that is read, a graph would be for it alone
            return f"`{type(self.select).__name__}` in '{self.name}' must mark"

        dtype = getattr(selected, "dtype", None)
        if not ops.is_tensor(selected) or "bool" not in str(dtype):
            raise ValueError(
                f"{expected()} with a boolean tensor. Received: "
                f"{type(selected).__name__}, dtype {dtype}. Compare tensors, as in "
                "`phi > 1.0`, or use `keras.ops.cast`."
            )
        validation.check_marks(
            selected, phi, lambda: f"{expected()} the shape of `phi`"
        )

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
                stacklevel=4,
            )

    def _is_on(self) -> Any:
        """Whether anything may be selected: a bool, or 1 or 0, which makes every φ 0.

        Nothing is before the statistics hold `start_step` batches. A bool where that is
        known without asking the device.
        """
        step = backend.known(self.step)
        if step is not None:
            return bool(step >= self.start_step and self.enabled)
        started = backend.held(self.step.value) >= self.start_step
        return ops.cast(started, "float32") * ops.convert_to_tensor(self._enabled)

    def _current_selector_state(self) -> Tensor | None:
        return None if self._selector_state is None else self._selector_state.value
