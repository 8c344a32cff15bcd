from typing import Any

import keras
from keras import ops

from keras_mono._typing import Tensor

_NEAREST = 1e-18  # its square is still a normal float32


def monosemantic_penalty(z: Tensor, selected: Tensor, mean: Tensor) -> Tensor:
    """Mean of `log (z - mean)²` over the selected activations (L2E).

    Minimizing it moves the selected activations towards their neuron's mean, with the
    gradient `2 / ((z - mean) · number selected)`. The logarithm takes out the variance,
    whose inverse would make the Monosemantic Scale itself explode.

    Reference: L2E (arXiv:2503.23298), L_MS.

    Args:
        z: Activations, float, any shape.
        selected: Boolean, the shape of `z`.
        mean: The neurons' means, in the units of `z`; broadcasts against `z`. It gets
            no gradient.

    Returns:
        Scalar, float32; 0 with zero gradient if nothing is selected. An activation
        nearer to its mean than 1e-18 counts as 1e-18 away and has no gradient.

    Example:

    >>> z = np.array([1.0, 5.0, 3.0], "float32")
    >>> penalty = km.ops.monosemantic_penalty(z, [False, True, True], mean=2.0)
    >>> round(float(penalty), 4)  # (log 9 + log 1) / 2
    1.0986
    """
    z = ops.convert_to_tensor(z)
    selected = ops.convert_to_tensor(selected, "bool")
    mean = ops.stop_gradient(ops.cast(mean, "float32"))
    number = ops.cast(ops.sum(ops.cast(selected, "int32")), "float32")
    number = ops.maximum(number, 1.0)

    def deviation(z: Tensor) -> Tensor:
        """1, whose logarithm is 0, where nothing is selected; never NaN or infinite."""
        return ops.where(selected, ops.cast(z, "float32") - mean, 1.0)

    def penalty(deviation: Tensor) -> Tensor:
        squared = ops.maximum(deviation * deviation, _NEAREST * _NEAREST)
        return ops.sum(ops.log(squared)) / number

    if keras.backend.backend() == "jax":  # XLA fuses this, and can differentiate it on
        return penalty(deviation(z))

    # The same in fewer passes over the activations.
    @ops.custom_gradient
    def with_gradient(z: Tensor) -> tuple[Tensor, Any]:
        d = deviation(z)

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
            dy = args[0] if upstream is None else upstream
            pulled = ops.logical_and(selected, ops.abs(d) > _NEAREST)
            return ops.cast(ops.where(pulled, (2.0 * dy / number) / d, 0.0), z.dtype)

        return penalty(d), gradient

    return with_gradient(z)
