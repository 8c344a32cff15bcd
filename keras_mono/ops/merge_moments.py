"""The union of two sets of values, by their moments.

With m earlier values (mean μ, unbiased variance v) and b new ones (mean μ', biased
variance v'):

`μ ← (m·μ + b·μ') / (m + b)`

`v ← m·b·(μ - μ')² / ((m+b-1)(m+b)) + (b·v' + (m-1)·v) / (m+b-1)`

Without forgetting this gives the statistics of all values concatenated. A caller that
forgets passes a smaller count than the number of values seen (MEmeL, Alg. 1).
"""

from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend


def merge_moments(
    count: Tensor,
    mean: Tensor,
    variance: Tensor,
    batch_count: Tensor,
    batch_mean: Tensor,
    batch_variance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of a history and a batch taken together.

    Reference: MEmeL (arXiv:2312.11560), Lemma 3.2; the formulas stand above.

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
    given = (count, mean, variance, batch_count, batch_mean, batch_variance)
    m, mean, variance, b, batch_mean, batch_variance = map(ops.convert_to_tensor, given)
    mean = ops.where(m > 0, mean, batch_mean)
    variance = ops.where(m > 1, variance, 0.0)
    delta = ops.where(b > 0, batch_mean - mean, 0.0)
    count, change, variance = backend.union(m, variance, b, delta, batch_variance)
    return count, mean + change, variance
