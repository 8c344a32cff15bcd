from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend


def monosemantic_scale(
    z: Tensor, mean: Tensor, variance: Tensor, variance_compensation: float = 0.0
) -> Tensor:
    """Monosemantic Scale φ: how far a value lies from its neuron's own history.

    `φ = (z - mean)² / (variance + ε · average variance of the layer's neurons)`

    Rare and strong responses score high: φ is about 1 on average for every neuron, so
    it is the tail that tells neurons apart.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1 and eq. 7; ε is the variance
    compensation of its Alg. 2.

    Args:
        z: Activations, float, any shape.
        mean: Mean of each neuron, in the units of `z`; broadcasts against `z`.
        variance: Unbiased variance of each neuron, in squared units of `z`; the same
            shape as `mean`. Its average over all elements is the layer's.
        variance_compensation: ε ≥ 0, no unit. The papers' code uses 0.01.

    Returns:
        φ ≥ 0 without unit, in the shape of `z`; 0 where the denominator is 0.

    Example:

    >>> z = np.array([[0.0, 5.0], [1.0, 1.0]], "float32")
    >>> phi = km.ops.monosemantic_scale(z, mean=[0.0, 1.0], variance=[1.0, 4.0])
    >>> keras.ops.convert_to_numpy(phi).tolist()
    [[0.0, 4.0], [1.0, 0.0]]
    """
    z = ops.convert_to_tensor(z)
    mean = ops.convert_to_tensor(mean, z.dtype)
    variance = ops.convert_to_tensor(variance, z.dtype)
    average = ops.mean(variance)
    precision = backend.inverse(variance + variance_compensation * average)
    return ops.square(z - mean) * precision
