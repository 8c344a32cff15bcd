import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import keras
from keras import ops

from keras_mono._internal.recurrence import after_loop
from keras_mono._internal.typing import Tensor
from keras_mono.backend import TrainingCall, backend, counted_once
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition


@keras.saving.register_keras_serializable(package="keras_mono")
class InhibitedRNN(keras.layers.RNN):
    """A recurrent layer whose cell is inhibited inside the recurrence.

    Like `keras.layers.RNN(cell)`, but at every time step the most monosemantic
    activations of the cell are replaced by their mean, with a reversed gradient, before
    the state goes on to the next step. Use it instead of a `MonosemanticInhibition` in
    a cell. That would change its statistics inside the loop, which JAX cannot, and
    which other backends count wrong.

    Statistics do not change inside the loop. After it the activations of all time steps
    update them as one batch, with equal weights. So `start_step` and `forget_steps`
    count batches of sequences, not time steps as in the paper, where 10 time steps were
    one sequence. A `MovingThreshold` starts one batch later than elsewhere: it needs a
    batch after `start_step` first.

    A cell whose `call` has an argument `inhibit` applies it once per time step to the
    activations of its choice: `z = z if inhibit is None else inhibit(z)`. Of any other
    cell the output is inhibited, which must be one of its new states, as in `GRUCell`
    and `LSTMCell`. The activations have the shape of the cell's output.

    Reference: MEmeL (arXiv:2312.11560), its ConvGRU; fixed statistics inside the loop
    are this library's.

    Args:
        cell: A Keras RNN cell.
        inhibition: `MonosemanticInhibition` to use, with `include_current_batch=False`;
            its `axis` refers to the cell's output, `(batch, ...)`. None: a plain RNN.
        **kwargs: As in `keras.layers.RNN`: `return_sequences`, `return_state`,
            `go_backwards`, `stateful`, `unroll`, `zero_output_for_mask`.

    Call arguments:
        sequences: `(batch, time, ...)`.
        initial_state: Optional list of states.
        mask: Boolean, `(batch, time)`. Masked steps are not counted.
        training: Inhibits and learns if True and `inhibition` is trainable.

    Output shape:
        As in `keras.layers.RNN`.

    Raises:
        ValueError: for an `inhibition` of another class or with
            `include_current_batch=True`, for several cells, and for a cell whose output
            is none of its states and that takes no `inhibit`.

    Attributes:
        inhibition: The layer that keeps the statistics.

    Example:

    >>> layer = km.layers.InhibitedRNN(
    ...     keras.layers.GRUCell(16), km.layers.MonosemanticInhibition(start_step=1)
    ... )
    >>> x = np.random.default_rng(0).normal(size=(8, 5, 4)).astype("float32")
    >>> for _ in range(3):
    ...     y = layer(x, training=True)
    >>> tuple(y.shape), int(layer.inhibition.step), float(layer.inhibition.count[0, 0])
    ((8, 16), 3, 120.0)
    """

    def __init__(
        self,
        cell: Any,
        inhibition: MonosemanticInhibition | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(cell, keras.layers.RNN):
            raise ValueError(
                "`cell` must be an RNN cell, which computes one time step. Received: "
                f"the layer {cell!r}. Pass a cell, such as `keras.layers.GRUCell(64)`."
            )
        super().__init__(cell, **kwargs)
        self.supports_masking = True  # from 3.16 on Keras' RNN does not
        self.inhibition = _checked(inhibition)
        if inhibition is not None and isinstance(
            self.cell, keras.layers.StackedRNNCells
        ):
            raise ValueError(
                "`cell` must be one cell, whose activations are inhibited. Received: "
                f"{len(self.cell.cells)} cells. Stack `InhibitedRNN` layers instead, "
                "with `return_sequences=True` on all but the last."
            )
        self._cell_arguments = inspect.signature(self.cell.call).parameters

    def get_config(self) -> dict[str, Any]:
        kept = self.inhibition and keras.saving.serialize_keras_object(self.inhibition)
        return {**super().get_config(), "inhibition": kept}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        inhibition = keras.saving.deserialize_keras_object(
            config["inhibition"], custom_objects=custom_objects
        )
        config = {**config, "inhibition": inhibition}
        if "cell" not in config:  # a `ConvGRU2D`, which makes its own
            return cls(**config)
        made: Self = super().from_config(config, custom_objects=custom_objects)
        return made

    def build(
        self, sequences_shape: tuple[int | None, ...], initial_state_shape: Any = None
    ) -> None:
        super().build(sequences_shape, initial_state_shape)
        if self.inhibition is not None and not self.inhibition.built:
            self.inhibition.build(self._activation_shape(tuple(sequences_shape)))

    def without_inhibition(self) -> keras.layers.RNN:
        """A plain Keras layer with the same name that shares the cell."""
        config = keras.layers.RNN.get_config(self)
        del config["cell"]
        plain = keras.layers.RNN(self.cell, **config)
        plain.trainable = self.trainable
        return plain

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Tensor, Tensor, Any]:
        """Run the cell over time; RNN's own loop around another step."""
        inhibition: Any = self.inhibition
        collect = inhibition is not None and inhibition.should_update(training)
        inhibit = (lambda z: z) if collect else None
        if inhibition is not None and inhibition.should_inhibit(training):
            inhibit = _pure_inhibition(inhibition, collect)
        arguments = self._arguments(sequences, training)
        join: Any = inhibition.channel_axis if collect else None
        takes_inhibit = "inhibit" in self._cell_arguments
        step = _Step(self.cell, arguments, inhibit, join, takes_inhibit)
        loop = SimpleNamespace(
            cell=step,
            return_sequences=self.return_sequences or collect,
            go_backwards=self.go_backwards,
            stateful=self.stateful,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
        )
        if collect:
            # Keras on JAX uses the first state as the output of a masked step.
            state = initial_state[0]
            joined = ops.concatenate([state, ops.zeros_like(state)], axis=join)
            initial_state = [joined, *initial_state]
        given = mask
        if mask is not None:
            given = backend.mask_for_loop(mask, initial_state[0])
        last, outputs, states = keras.layers.RNN.inner_loop(
            loop, sequences, initial_state, given
        )
        if collect:
            states = states[1:]
            last, _ = ops.split(last, 2, axis=join)
            outputs, activations = ops.split(outputs, 2, axis=join + 1)
            if self.go_backwards and mask is not None:
                mask = ops.flip(mask, axis=1)
            _update(inhibition, activations, mask)
        return last, outputs, states

    def _arguments(
        self,
        sequences: Tensor,  # noqa: ARG002
        training: bool,
    ) -> dict[str, Any]:
        """The cell's arguments besides inputs and states."""
        return {"training": training} if "training" in self._cell_arguments else {}

    def _activation_shape(
        self, sequences_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        size = getattr(self.cell, "output_size", None) or self.state_size[0]
        return (sequences_shape[0], size)


@counted_once
def _pure_inhibition(inhibition: MonosemanticInhibition, collect: bool) -> Any:
    """The inhibition as a pure function of this call, or of the one it repeats."""
    if not collect:
        return inhibition.as_pure_function()
    call = TrainingCall(inhibition)
    if call.repeats:
        with keras.StatelessScope(state_mapping=call.kept()):
            return inhibition.as_pure_function()
    if call.may_be_repeated:
        call.keep([(v, ops.copy(v.value)) for v in inhibition.variables])
    return inhibition.as_pure_function()


def _update(
    inhibition: MonosemanticInhibition, activations: Tensor, mask: Tensor | None
) -> None:
    """Update the statistics with all time steps as one batch."""
    shape = tuple(activations.shape)[2:]
    if mask is not None:
        mask = ops.reshape(mask, (-1,))
    activations = ops.reshape(activations, (-1, *shape))
    listeners = inhibition.listeners
    receive = listeners.hear if listeners else inhibition.update_statistics
    after_loop(lambda: receive(activations, mask))


@dataclass
class _Step:
    """A cell whose output is joined with the activations before inhibition.

    Not a layer: it exists for one batch and owns no variables.
    """

    cell: Any
    arguments: dict[str, Any]
    inhibit: Callable[[Tensor], Tensor] | None  # None: a plain step
    join: int | None  # axis to join activations to the output; None: do not
    cell_inhibits: bool

    def __call__(self, inputs: Tensor, states: Any) -> tuple[Tensor, Any]:
        if self.inhibit is None:
            output, new = self.cell(inputs, states, **self.arguments)
            return output, new
        before = states if self.join is None else states[1:]
        output, z, new = self._inhibited(inputs, before, self.inhibit)
        if self.join is None:
            return output, new
        joined = ops.concatenate([output, z], axis=self.join)
        return joined, [joined, *new]

    def _inhibited(
        self, inputs: Tensor, states: Any, inhibit: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Output, activations before inhibition, and new states."""
        arguments, caught = dict(self.arguments), []

        def catch(z: Tensor) -> Tensor:
            caught.append(z)
            return inhibit(z)

        if self.cell_inhibits:
            arguments["inhibit"] = catch
        z, new = self.cell(inputs, states, **arguments)
        new = list(new) if keras.tree.is_nested(new) else [new]
        if self.cell_inhibits:
            return z, _once(caught, z), new
        if not any(state is z for state in new):
            raise ValueError(
                f"The output of cell {type(self.cell).__name__} is none of its new "
                "states, so inhibiting it would not reach the next time step. Give the "
                "cell's `call` an argument `inhibit=None` and apply it there to the "
                "activations to inhibit: `z = z if inhibit is None else inhibit(z)`."
            )
        output = inhibit(z)
        return output, z, [output if state is z else state for state in new]


def _once(caught: list[Tensor], output: Tensor) -> Tensor:
    if len(caught) != 1 or tuple(caught[0].shape) != tuple(output.shape):
        shapes = [tuple(z.shape) for z in caught]
        raise ValueError(
            "The cell must apply `inhibit` once a step, to activations of the shape of "
            f"its output {tuple(output.shape)}. It applied it to: {shapes}."
        )
    return caught[0]


def _checked(inhibition: Any) -> MonosemanticInhibition | None:
    if inhibition is None:
        return None
    if not isinstance(inhibition, MonosemanticInhibition):
        raise ValueError(
            "`inhibition` must be a `MonosemanticInhibition` or None. Received: "
            f"{inhibition!r}."
        )
    if inhibition.include_current_batch:
        raise ValueError(
            "`inhibition` must have `include_current_batch=False`: inside the "
            "recurrence the statistics of the batch are not known yet."
        )
    return inhibition
