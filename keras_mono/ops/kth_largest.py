import keras
import numpy as np
from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor


def kth_largest(x: Tensor, k: int) -> Tensor:
    """The k-th largest value of each row, duplicates counted as often as they stand.

    `x >= kth_largest(x, k)` marks the k largest values of each row and everything tied
    with the k-th, which is how MEmeL selects neurons. Unlike the indices of a top-k,
    which break ties differently on each backend, it is the same on all of them.

    Args:
        x: Shape `(rows, n)`, float without NaN; may hold infinities. `n` ≥ 1.
        k: Rank, an integer from 1 to `n`.

    Returns:
        Shape `(rows, 1)`, the dtype of `x`, without gradient; -inf where `n` is known
        at run time only, and smaller than `k`.

    Raises:
        ValueError: if `x` is no matrix of floats, or `k` no integer from 1 to `n`.

    Example:

    >>> x = np.array([[3.0, 1.0, 3.0, 2.0]], "float32")
    >>> [float(km.ops.kth_largest(x, k)[0, 0]) for k in (1, 2, 3, 4)]
    [3.0, 3.0, 2.0, 1.0]
    """
    x = ops.convert_to_tensor(x)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if len(x.shape) != 2 or not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "`x` must be floats of shape (rows, n). Received: shape="
            f"{tuple(x.shape)}, dtype={dtype}. Reshape or cast it."
        )
    n = x.shape[1] if isinstance(x.shape[1], int) else None
    if not isinstance(k, int) or isinstance(k, bool):
        k = validation.positive_integer("k", k, "from 1 to the row length")
    if k < 1 or (n is not None and k > n):
        raise ValueError(
            f"`k` must be an integer from 1 to the row length {n}. Received: k={k}. "
            "Choose a smaller `k` or pass longer rows."
        )
    return kth_of_rows(x, k, -np.inf)


def kth_of_rows(x: Tensor, k: int, smallest: float) -> Tensor:
    """`kth_largest` without checks, of values that are at least `smallest`.

    A row whose unknown length is smaller than `k` gives `smallest`.
    """
    x = ops.stop_gradient(x)
    if x.shape[0] == 0:
        return x[:, :1]
    if not isinstance(x.shape[1], int):
        x = ops.pad(x, ((0, 0), (0, k)), constant_values=smallest)
    if k == 1:
        return ops.amax(x, axis=-1, keepdims=True)
    # The last of the sorted k instead would make XLA sort.
    return ops.amin(ops.top_k(x, k, sorted=False)[0], axis=1, keepdims=True)
