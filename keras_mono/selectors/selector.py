from typing import Any, Self

from keras_mono._internal.typing import Tensor


class Selector:
    """Base of the selectors: marks which activations of a layer are inhibited.

    A selector is called with φ, which is 0 at every activation that must never be
    selected (masked, non-finite, without history), and returns a boolean tensor of the
    same shape. It checks itself against the layer's shape when that is built. It may
    not keep a reference to the layer, and two layers may share it: what it has to
    remember between batches it names in `state_names`, the layer keeps it and hands it
    over.

    Attributes:
        state_names: Names of the float32 scalars that a layer keeps for this selector,
            0 at first. Empty for a selector that remembers nothing.
        counts_waited: True if `update` has an argument `waited`.
        counts_every_batch: True if the state has `num_batches` and each `update` adds 1
            to it, also after a batch in which nothing counts.
    """

    state_names: tuple[str, ...] = ()
    counts_waited = False
    counts_every_batch = False

    def check(self, shape: tuple[int | None, ...], channel_axis: int) -> None:
        """Raise a `ValueError` if this selector cannot serve inputs of `shape`."""

    def ranked(
        self,
        shape: tuple[int | None, ...],
        channel_axis: int,  # noqa: ARG002
    ) -> tuple[int | None, ...]:
        """Lengths of the axes among which this selector chooses; all but the batch."""
        return shape[1:]

    def __call__(
        self, phi: Tensor, channel_axis: int = -1, state: Tensor | None = None
    ) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(phi, channel_axis, state)`, "
            "which returns a boolean tensor of the shape of `phi`."
        )

    def update(
        self,
        phi: Tensor,
        counted: Tensor,
        state: Tensor,
        channel_axis: int = -1,
        num_batches: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Select from a training batch and update the state; if there is a state.

        Args:
            phi: As in `__call__`.
            counted: Scalar, how many entries of `phi` count. 0: learn nothing.
            state: The state before the batch, float32, one number a state name. May be
                overwritten.
            channel_axis: As in `__call__`.
            num_batches: How many updates there were, with `counts_every_batch` where
                that is known without asking the device; else None.

        With `counts_waited` there is an argument `waited`: None or, after batches from
        which the selector selected without an update, how many entries of them it
        selected and how many counted, both of this replica. See
        `keras_mono.torch.configure_replicas`.

        Returns:
            What is selected, and the state after the batch.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has `state_names` and must define "
            "`update(phi, counted, state, channel_axis, num_batches)`, which returns a "
            "boolean tensor and the new state."
        )

    def _present(self, state: Tensor | None, what: str) -> Tensor:
        """The state, which holds `what`; without one a `ValueError`."""
        if state is None:
            name = type(self).__name__
            raise ValueError(
                f"`state` must hold {what}, which a layer keeps. Received: None. Pass "
                f"`{name}` to a layer as `select`, and ask the layer: "
                "`layer.selected(z)`."
            )
        return state

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
