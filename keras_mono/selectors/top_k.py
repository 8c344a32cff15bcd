import math
from typing import Any

import keras
from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend
from keras_mono.backend.reference import SMALLEST_PHI
from keras_mono.ops.kth_largest import kth_of_rows
from keras_mono.selectors.selector import Selector


@keras.saving.register_keras_serializable(package="keras_mono")
class TopK(Selector):
    """The k activations with the largest φ, of each sample or of each position.

    All activations tied with the k-th are taken; φ = 0 never is, so fewer than k are
    taken where fewer count. Use `per="position"` in a causal language model: a choice
    over all positions of a sample would let later tokens decide what happens to earlier
    ones.

    Reference: MEmeL (arXiv:2312.11560), section 4.1.2 and its E.3. The paper uses k = 1
    in its main experiments and searches {1, 5, 10, 50, 100} in MEmeL-Tune. `per` is
    this library's.

    Args:
        k: Positive integer.
        per: `"sample"`: over all neurons and positions of a sample. `"position"`: over
            the channels at each position, where the channels are the layer's `axis`
            (the last of several; the last axis of the input for `axis=None`).

    Call arguments:
        phi: Monosemantic Scale, shape `(batch, ...)`, non-negative, 0 at activations
            that must not be selected.
        channel_axis: The axis that `per="position"` ranks over.

    Returns:
        Boolean tensor in the shape of `phi`.

    Raises:
        ValueError: if `k` is not a positive integer, if `per` is unknown, or, when a
            layer is built, if `k` exceeds the number of activations it ranks.

    Example:

    >>> phi = np.array([[[1.0, 9.0], [5.0, 4.0]]], "float32")
    >>> selected = km.selectors.TopK(1, per="position")(phi)
    >>> keras.ops.convert_to_numpy(selected).tolist()
    [[[False, True], [True, False]]]
    """

    def __init__(self, k: int = 1, per: str = "sample") -> None:
        if per not in ("sample", "position"):
            raise ValueError(
                f"`per` must be 'sample' or 'position'. Received: per={per!r}."
            )
        self.k = validation.positive_integer(
            "k", k, "of activations to select", " Pass for example `k=1`."
        )
        self.per = per

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, "per": self.per}

    def ranked(
        self, shape: tuple[int | None, ...], channel_axis: int
    ) -> tuple[int | None, ...]:
        """Lengths of the axes that are ranked together."""
        return (shape[channel_axis],) if self.per == "position" else shape[1:]

    def check(self, shape: tuple[int | None, ...], channel_axis: int) -> None:
        ranked = self.ranked(shape, channel_axis)
        known = [n for n in ranked if n is not None]
        if len(known) == len(ranked) and self.k > math.prod(known):
            raise ValueError(
                f"`k` must be at most the {math.prod(known)} activations of a "
                f"{self.per}. Received: k={self.k} for inputs of shape {shape}. Choose "
                "a smaller `k`."
            )

    def __call__(
        self,
        phi: Tensor,
        channel_axis: int = -1,
        state: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        phi = backend.computed_once(ops.convert_to_tensor(phi))
        kth = backend.clip(self._kth(phi, channel_axis), SMALLEST_PHI)
        return backend.at_least(phi, kth)

    def _kth(self, phi: Tensor, channel_axis: int) -> Tensor:
        """The k-th largest φ of each row, with size 1 on the axes ranked over."""
        per_sample = self.per == "sample"
        axes = tuple(range(1, phi.ndim)) if per_sample else (channel_axis,)
        if self.k == 1 or 0 in phi.shape:
            return backend.max_over(phi, axes)
        if not per_sample:
            phi = ops.swapaxes(phi, channel_axis, -1)
        shape = list(ops.shape(phi))
        size: Any = math.prod(shape[1:] if per_sample else shape[-1:])
        # A tensor on TensorFlow, an expression in the symbolic shapes of JAX.
        rows = ops.stack([-1, size]) if ops.is_tensor(size) else (-1, size)
        k = min(self.k, size) if isinstance(size, int) else self.k
        kth = kth_of_rows(ops.reshape(phi, rows), k, 0.0)
        kept = shape[:1] + [1] * (len(shape) - 1) if per_sample else [*shape[:-1], 1]
        kth = ops.reshape(kth, kept)
        return kth if per_sample else ops.swapaxes(kth, -1, channel_axis)
