"""Sums as PyTorch's compiler writes few kernels for them."""

from collections.abc import Sequence

import torch

from keras_mono._internal.typing import Axes, Tensor


def compiled_sums_over(axes: Axes, *xs: Tensor) -> Sequence[Tensor]:
    """Sums of tensors of one shape, of booleans how many are True, along kept axes.

    In two kernels: along the batch last, of all in one. The compiler divides a long
    reduction itself, but writes a second kernel for each sum.
    """
    batch, *others = axes
    xs = tuple(x.to(torch.float32) for x in xs)
    if not others:
        return [x.sum(batch, keepdim=True) for x in xs]
    parts = torch.stack([x.sum(others, keepdim=True) for x in xs])
    return parts.sum(1 + batch, keepdim=True).unbind()
