"""Arithmetic of statistics, which on eager PyTorch is faster in NumPy.

Statistics are small, so PyTorch spends its time on the calls; NumPy's take a fifth of
it. What runs there uses operators and the functions below.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_mono._eager import ARRAYS, in_numpy, in_torch, is_eager_on_cpu
from keras_mono._internal.typing import Tensor

_SMALL = 2**15  # elements: beyond, PyTorch's threads are faster


def on_arrays(arithmetic: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of statistics calculate on arrays where that is faster.

    The first tensor given decides. Arguments and results are tensors, numbers, None,
    and tuples of these.
    """

    @functools.wraps(arithmetic)
    def calculate(*given: Any) -> Any:
        first = given[0][0] if isinstance(given[0], tuple) else given[0]
        if not is_eager_on_cpu(first) or first.numel() > _SMALL:
            return arithmetic(*given)
        return _each(in_torch, arithmetic(*_each(in_numpy, given)))

    return calculate


def _each(convert: Callable[[Any], Any], x: Any) -> Any:
    if not isinstance(x, tuple):
        return convert(x)
    parts = [_each(convert, part) for part in x]
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)


def indicator(condition: Tensor, dtype: str = "float32") -> Tensor:
    """1 where True, else 0."""
    if isinstance(condition, bool):
        return float(condition)
    if isinstance(condition, ARRAYS):
        return condition.astype(dtype)
    if is_eager_on_cpu(condition) and dtype == "float32":
        return condition.float()  # a fifth of the time of `ops.cast`
    return ops.cast(condition, dtype)


def total(x: Tensor) -> Tensor:
    """Sum of everything."""
    return x.sum() if isinstance(x, np.ndarray) else ops.sum(x)


def any_of(x: Tensor) -> Tensor:
    """Whether anything is True."""
    return x.any() if isinstance(x, np.ndarray) else ops.any(x)


def in_common(count: Tensor) -> Tensor:
    """One number instead of a tensor in which all are equal, where looking is free."""
    if isinstance(count, np.ndarray):
        low, high = count.min(), count.max()
    elif is_eager_on_cpu(count):
        low, high = (x.item() for x in count.aminmax())
    else:
        return count
    return float(low) if low == high else count


def spread(x: Tensor, like: Tensor) -> Tensor:
    """One number, or a tensor of numbers, in the shape of another tensor."""
    if isinstance(like, np.ndarray):
        return x if isinstance(x, np.ndarray) else np.full_like(like, x)
    return ops.broadcast_to(x, like.shape)
