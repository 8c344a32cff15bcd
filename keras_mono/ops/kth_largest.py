from keras import ops

from keras_mono._typing import Tensor


def kth_largest(x: Tensor, k: int) -> Tensor:
    """The k-th largest value of each row, duplicates counted as often as they stand.

    `x >= kth_largest(x, k)` marks the k largest values of each row and everything tied
    with the k-th, which is how MEmeL selects neurons. Unlike the indices of a top-k,
    which break ties differently on each backend, it is the same on all of them.

    Args:
        x: Shape `(rows, n)`, float without NaN. `n` ≥ 1.
        k: Rank, an integer from 1 to `n`.

    Returns:
        Shape `(rows, 1)`, the dtype of `x`.

    Raises:
        ValueError: if `k` is not positive or exceeds a statically known `n`.

    Example:

    >>> x = np.array([[3.0, 1.0, 3.0, 2.0]], "float32")
    >>> [float(km.ops.kth_largest(x, k)[0, 0]) for k in (1, 2, 3, 4)]
    [3.0, 3.0, 2.0, 1.0]
    """
    x = ops.convert_to_tensor(x)
    n = x.shape[-1]
    if k < 1 or (n is not None and k > n):
        raise ValueError(
            f"`k` must be an integer from 1 to the row length {n}. Received: k={k}. "
            "Choose a smaller `k` or pass longer rows."
        )
    if k == 1:
        return ops.max(x, axis=-1, keepdims=True)
    return ops.top_k(x, k, sorted=True)[0][:, k - 1 :]
