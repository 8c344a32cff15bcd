from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend


def monosemantic_penalty(z: Tensor, selected: Tensor, mean: Tensor) -> Tensor:
    """Mean of `log (z - mean)²` over the selected activations (L2E).

    Minimizing it moves the selected activations towards their neuron's mean, with the
    gradient `2 / ((z - mean) · number selected)`. The logarithm takes out the variance,
    whose inverse would make the Monosemantic Scale itself explode.

    Reference: L2E (arXiv:2503.23298), L_MS.

    Args:
        z: Activations, float, any shape; nearer than 1.8e19 to their means, as the
            layers see to.
        selected: Boolean, the shape of `z`.
        mean: The neurons' means, in the units of `z`; broadcasts against `z`. It gets
            no gradient.

    Returns:
        Scalar, float32; 0 with zero gradient if nothing is selected. An activation
        nearer to its mean than 1e-18 counts as 1e-18 away and has no gradient. In
        float16 the gradient of one nearer than about 1e-5 overflows. It can be
        differentiated again.

    Raises:
        ValueError: if `selected` has another shape than `z`.

    Example:

    >>> z = np.array([1.0, 5.0, 3.0], "float32")
    >>> penalty = km.ops.monosemantic_penalty(z, [False, True, True], mean=2.0)
    >>> round(float(penalty), 4)  # (log 9 + log 1) / 2
    1.0986
    """
    z = ops.convert_to_tensor(z)
    mean = ops.convert_to_tensor(mean, "float32")
    return backend.log_penalty(z, validation.marks(selected, z), mean, None)
