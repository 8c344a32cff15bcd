from typing import Any

import keras
from keras import ops

from keras_mono._eager import (
    at_places,
    is_eager_on_cpu,
    is_transformed,
    marked_places,
)
from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor


def deactivate(
    z: Tensor, selected: Tensor, mean: Tensor, strength: float | Tensor = 1.0
) -> Tensor:
    """Replace selected activations by their mean, with a gradient of -strength.

    `-Δ·z + ng(mean + Δ·z)` where selected, `z` elsewhere; `ng` stops the gradient.
    Δ = 1 is reversed deactivation (RD), which moves the true activation towards its
    mean; Δ = 0 is the paper's naive (a), Δ = -1 its naive (b), which moves it further
    away.
    Evaluated so that the value is the mean exactly, in half precision and at large Δ.

    Reference: MEmeL (arXiv:2312.11560), section 3.3 and Lemma 3.3.

    Args:
        z: Activations, float, any shape.
        selected: Boolean, the shape of `z`.
        mean: Value to put in, in the units of `z`; broadcasts against `z`. It gets no
            gradient.
        strength: Δ, no unit: a number or a scalar tensor.

    Returns:
        A tensor with the shape and dtype of `z`. Elements that are not selected pass
        unchanged, NaN and infinity included, with gradient 1.

    Raises:
        ValueError: if `selected` has another shape than `z`.

    Example:

    >>> z = np.array([1.0, 9.0], "float32")
    >>> out = km.ops.deactivate(z, selected=[False, True], mean=2.0)
    >>> keras.ops.convert_to_numpy(out).tolist()
    [1.0, 2.0]
    """
    return deactivate_marked(z, validation.marks(selected, z), mean, strength)


def deactivate_marked(
    z: Tensor, selected: Tensor, mean: Tensor, strength: float | Tensor
) -> Tensor:
    """`deactivate` of a boolean tensor."""
    z = ops.convert_to_tensor(z)
    mean = ops.stop_gradient(ops.cast(mean, z.dtype))
    factor = -ops.stop_gradient(ops.cast(strength, z.dtype))
    # XLA fuses this, and it can be differentiated further.
    if keras.backend.backend() == "jax" or is_transformed():
        return ops.where(selected, mean + factor * (z - ops.stop_gradient(z)), z)
    if is_eager_on_cpu(z):
        return _at_few_places(z, marked_places(selected), mean, factor)

    # The same in two passes over the activations where the line above takes eight.
    @ops.custom_gradient
    def replaced(z: Tensor) -> tuple[Tensor, Any]:
        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
            dy = args[0] if upstream is None else upstream
            return ops.where(selected, factor * dy, dy)

        return ops.where(selected, mean, z), gradient

    return replaced(z)


def _at_few_places(z: Tensor, places: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """The same once more, for PyTorch without a compiler.

    A copy and its few changes: choosing by a mask takes four times as long there, and
    the mask would have to be kept for the gradient.
    """
    values = at_places(mean, places, like=z)

    @ops.custom_gradient
    def replaced(z: Tensor) -> tuple[Tensor, Any]:
        def gradient(*_: Tensor, upstream: Tensor) -> Tensor:
            dy = upstream.reshape(-1).clone()
            dy[places] *= factor
            return dy.view(z.shape)

        # Not a view: PyTorch forbids to change one in place that a function returns.
        outputs = z.contiguous().clone()
        outputs.view(-1)[places] = values
        return outputs, gradient

    return replaced(z)
