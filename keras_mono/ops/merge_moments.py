import keras
from keras import ops

from keras_mono._arrays import indicator
from keras_mono._internal.typing import Tensor


def merge_moments(
    count: Tensor,
    mean: Tensor,
    variance: Tensor,
    batch_count: Tensor,
    batch_mean: Tensor,
    batch_variance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of a history and a batch taken together.

    With m earlier values (mean μ, unbiased variance v) and b new ones (mean μ', biased
    variance v'):

    `μ ← (m·μ + b·μ') / (m + b)`

    `v ← m·b·(μ - μ')² / ((m+b-1)(m+b)) + (b·v' + (m-1)·v) / (m+b-1)`

    Without forgetting this gives the statistics of all values concatenated. A caller
    that forgets passes a smaller `count` than the number of values seen (Alg. 1).

    Reference: MEmeL (arXiv:2312.11560), Lemma 3.2.

    Args:
        count: m ≥ 0, the number of values in the history. May differ by neuron.
        mean: μ, in the activations' units. Without effect where `count` is 0.
        variance: v, unbiased (divisor m - 1). Without effect where `count` is below 2.
        batch_count: b ≥ 0, the number of new values. May differ by neuron.
        batch_mean: μ'. Without effect where `batch_count` is 0.
        batch_variance: v', biased (divisor b). Likewise.

    All six are finite and broadcast against each other.

    Returns:
        `(count, mean, variance)` of the union, the variance unbiased and 0 where fewer
        than two values have been seen. Where `batch_count` is 0, the history unchanged.

    Example:

    >>> merged = km.ops.merge_moments(2.0, 1.0, 2.0, 2.0, 4.0, 1.0)  # {0, 2}, {3, 5}
    >>> [round(float(x), 4) for x in merged]
    [4.0, 2.5, 4.3333]
    """
    return union_of_moments(
        *(
            ops.convert_to_tensor(x)
            for x in (count, mean, variance, batch_count, batch_mean, batch_variance)
        )
    )


def union_of_moments(
    count: Tensor,
    mean: Tensor,
    variance: Tensor,
    batch_count: Tensor,
    batch_mean: Tensor,
    batch_variance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`merge_moments` of tensors, or of arrays; the counts may be floats."""
    dtype = keras.backend.standardize_dtype(mean.dtype)
    total = count + batch_count
    mean = mean * indicator(count > 0.0, dtype)
    variance = variance * indicator(count > 1.0, dtype)
    difference = batch_mean - mean
    change = difference * (batch_count / (total + indicator(total == 0.0, dtype)))
    divisor = total - 1.0
    divisor = divisor + indicator(divisor == 0.0, dtype)
    # Counts go in as shares: times a variance they may overflow. What weighs more is
    # the base, so that nothing cancels, and without new values nothing changes at all.
    few = indicator(batch_count <= count, dtype)
    weight = few * (batch_count / divisor) - (1.0 - few) * ((count - 1.0) / divisor)
    base = few * variance + (1.0 - few) * batch_variance
    between = (count / divisor) * difference * change
    return total, mean + change, base + weight * (batch_variance - variance) + between
