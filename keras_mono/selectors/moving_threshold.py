from typing import Any

import keras
from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor
from keras_mono.backend import ThresholdState, backend
from keras_mono.backend.reference import SMALLEST_PHI
from keras_mono.selectors import threshold
from keras_mono.selectors.selector import Selector


@keras.saving.register_keras_serializable(package="keras_mono")
class MovingThreshold(Selector):
    """All activations whose φ reaches a threshold τ that follows the stream (L2E).

    τ is the φ that `fraction` of *all* activations reach, over the whole stream and not
    in each batch: a batch with few monosemantic activations loses few, one with many
    loses many. That costs a comparison an activation, without a sort.

    The first batch after the layer's `start_step` sets τ to its own exact quantile.
    Then each batch moves ln τ by its share's relative error times a small gain, so that
    the mean share is the fraction, also where kinds of batches mix or less than one
    activation a batch is selected. Allow 200 batches, or as many as hold 20 selected
    activations, until it is within 15 %. If the errors keep one sign the stream has
    changed, and τ is set from a batch again, in every 32nd batch at most.

    Where many activations have the same φ, as the zeros behind a ReLU, and the fraction
    ends among them, τ settles on exactly that value and all of them are selected. Then,
    and for some batches after each change of the stream, the share is not the fraction:
    `layer.selector_state` shows the latest `selected_fraction` and the running relative
    `error`. τ is 1e30 while it waits, after activations that were constant.

    Reference: L2E (arXiv:2503.23298), which takes 2 % by default and reports 1 % as
    best at 70M, 2 % at 410M and 3 % at 2.8B parameters. How τ follows is this
    library's (docs/method.md).

    Args:
        fraction: Share of the activations to select, between 0 and 1.

    Call arguments:
        phi: Monosemantic Scale, any shape, non-negative, 0 at activations that must not
            be selected.
        channel_axis: Not used.
        state: The threshold's state. The layer keeps it, in weights that are saved.

    Returns:
        Boolean tensor in the shape of `phi`.

    Raises:
        ValueError: if `fraction` is not between 0 and 1.

    Example:

    >>> layer = km.layers.MonosemanticInhibition(select=0.1, axis=-1, start_step=1)
    >>> x = np.random.default_rng(0).normal(size=(50, 64, 8)).astype("float32")
    >>> for batch in x:
    ...     y = layer(batch, training=True)
    >>> share = float(keras.ops.mean(layer.selected(x[0])))
    >>> bool(0.05 < share < 0.15)
    True
    >>> bool(2.0 < layer.selector_state["threshold"] < 3.5)  # 2.7 for a normal
    True
    """

    state_names = ThresholdState._fields
    counts_waited = True
    counts_every_batch = True

    def __init__(self, fraction: float = 0.02) -> None:
        self.fraction = validation.fraction_to_select(fraction)
        # A compiler may take a float that differs between layers for a variable, which
        # no branch of a graph can hold; not a text.
        self._text = repr(self.fraction)

    def get_config(self) -> dict[str, Any]:
        return {"fraction": self.fraction}

    def __call__(
        self,
        phi: Tensor,
        channel_axis: int = -1,  # noqa: ARG002
        state: Tensor | None = None,
    ) -> Tensor:
        state = self._present(state, "the threshold")
        now = ThresholdState.of(state)
        least = backend.clip(now.threshold, SMALLEST_PHI)
        reached = backend.at_least(ops.convert_to_tensor(phi), least)
        return ops.logical_and(reached, now.num_batches > 0.0)

    def update(
        self,
        phi: Tensor,
        counted: Tensor,
        state: Tensor,
        channel_axis: int = -1,  # noqa: ARG002
        num_batches: int | None = None,
        waited: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        fraction = float(self._text)
        return threshold.update(phi, counted, state, fraction, num_batches, waited)
