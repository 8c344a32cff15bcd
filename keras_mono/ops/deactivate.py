from typing import Any

import keras
from keras import ops

from keras_mono._eager import choose
from keras_mono._typing import Tensor


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

    Example:

    >>> z = np.array([1.0, 9.0], "float32")
    >>> out = km.ops.deactivate(z, selected=[False, True], mean=2.0)
    >>> keras.ops.convert_to_numpy(out).tolist()
    [1.0, 2.0]
    """
    return deactivate_marked(z, ops.convert_to_tensor(selected, "bool"), mean, strength)


def deactivate_marked(
    z: Tensor, selected: Tensor, mean: Tensor, strength: float | Tensor
) -> Tensor:
    """`deactivate`, where `selected` may come from `_eager.reaches`.

    If it is 1.0 and 0.0, all of `z` must be finite float32, and it is overwritten.
    """
    z = ops.convert_to_tensor(z)
    mean = ops.stop_gradient(ops.cast(mean, z.dtype))
    factor = -ops.stop_gradient(ops.cast(strength, z.dtype))
    if keras.backend.backend() == "jax":  # XLA fuses this, and can differentiate it on
        return ops.where(selected, mean + factor * (z - ops.stop_gradient(z)), z)

    # The same in two passes over the activations where the line above takes eight.
    @ops.custom_gradient
    def replaced(z: Tensor) -> tuple[Tensor, Any]:
        outputs = choose(selected, mean, z)
        if keras.backend.standardize_dtype(selected.dtype) == "bool":

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
                dy = args[0] if upstream is None else upstream
                return ops.where(selected, factor * dy, dy)

        else:
            slope = choose(selected, factor, ops.ones_like(factor), overwrite=True)

            def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:  # noqa: ARG001
                return upstream * slope

        return outputs, gradient

    return replaced(z)
