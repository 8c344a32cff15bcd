import keras
import numpy as np
from keras import ops

from keras_mono._eager import highest, is_eager_on_cpu
from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor

_GROUP = 16  # values a group; 8 to 128 were tried
_LONG = 2**16  # values of a row from which groups may pay,
_FEW = 1024  # if there are this many times k of them
_MANY_ON_TORCH = 2**20  # below, groups do not pay there


def kth_largest(x: Tensor, k: int) -> Tensor:
    """The k-th largest value of each row, duplicates counted as often as they stand.

    `x >= kth_largest(x, k)` marks the k largest values of each row and everything tied
    with the k-th, which is how MEmeL selects neurons. Unlike the indices of a top-k,
    which break ties differently on each backend, it is the same on all of them.

    It is the least of the backend's top-k, which XLA finds without a sort of whole rows
    as long as its order is not asked for. A few of a very long row (k up to n / 1024,
    n from 65,536) are looked for only in those groups of values that have the largest
    maxima. `benchmarks/kth_largest.py` compares them.

    Args:
        x: Shape `(rows, n)`, float without NaN; may hold infinities. `n` ≥ 1.
        k: Rank, an integer from 1 to `n`.

    Returns:
        Shape `(rows, 1)`, the dtype of `x`, without gradient. Where `n` is unknown
        until run time and then smaller than `k`: -inf.

    Raises:
        ValueError: if `x` is not a matrix of floats, or `k` not a positive integer or
            larger than a statically known `n`.

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
    # Only here: torch.compile takes a length that stands in a text for a constant.
    if k < 1 or (n is not None and k > n):
        raise ValueError(
            f"`k` must be an integer from 1 to the row length {n}. Received: k={k}. "
            "Choose a smaller `k` or pass longer rows."
        )
    return kth_of_rows(x, k, -np.inf)


def kth_of_rows(x: Tensor, k: int, least: float) -> Tensor:
    """`kth_largest` without checks, of values that are `least` at least.

    A row whose unknown length is smaller than `k` gives `least`.
    """
    x = ops.stop_gradient(x)
    n = x.shape[1] if isinstance(x.shape[1], int) else None
    if x.shape[0] == 0:
        return x[:, :1]
    if k == 1:
        if n is None:
            return highest(x, -1, least)
        return ops.amax(x, axis=-1, keepdims=True)
    if n is None:
        x = ops.pad(x, ((0, 0), (0, k)), constant_values=least)
    elif _groups_pay(x, k):
        x = _groups_with_the_largest_maxima(x, k)
    # Its last column instead would make XLA sort.
    return ops.amin(ops.top_k(x, k, sorted=False)[0], axis=1, keepdims=True)


def _groups_pay(x: Tensor, k: int) -> bool:
    n = x.shape[1]
    if n < max(_LONG, _FEW * k):
        return False
    if keras.backend.backend() != "torch":
        return True
    return is_eager_on_cpu(x) and x.numel() >= _MANY_ON_TORCH


def _groups_with_the_largest_maxima(x: Tensor, k: int) -> Tensor:
    """All values of k groups of each row; the k largest of the row are among them.

    What stands in another group does not exceed any of the k maxima, so k values at
    least as large are here. What is left over of the row joins them.
    """
    groups = x.shape[1] // _GROUP
    grouped = ops.reshape(x[:, : groups * _GROUP], (-1, _GROUP, groups))
    best = ops.top_k(ops.max(grouped, axis=1), k)[1]
    chosen = ops.take_along_axis(grouped, ops.expand_dims(best, 1), axis=2)
    chosen = ops.reshape(chosen, (-1, _GROUP * k))
    return ops.concatenate([chosen, x[:, groups * _GROUP :]], axis=1)
