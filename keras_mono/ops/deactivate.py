from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend


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
    z = ops.convert_to_tensor(z)
    mean = ops.convert_to_tensor(mean, z.dtype)
    return backend.replace(z, validation.marks(selected, z), mean, strength)
