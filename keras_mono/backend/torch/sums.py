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


def compiled_totals(*xs: Tensor) -> Sequence[Tensor]:
    """Sums of all entries of tensors of one shape, in one kernel, or in two."""
    rows = torch.stack([x.sum(-1) for x in xs])
    return rows.flatten(1).sum(1).unbind()


def skipped_by_rows(valid: Tensor, mask: Tensor | None) -> Tensor:
    """How many entries are neither valid nor masked.

    Along the last axis first, in the kernel that computes φ. What is left is summed in
    the kernel of a loss: of another dtype, or the compiler would save its memory.
    """
    skipped = ~valid if mask is None else mask & ~valid
    return skipped.sum(-1, dtype=torch.int32).sum(dtype=torch.float32)


def compiled_moments(x: Tensor, valid: Tensor, axes: Axes) -> tuple[Tensor, ...]:
    """Of valid entries: count, near the mean, the mean's rest, biased variance.

    In two passes as the definition, but in one kernel, or in two.
    A kernel can pass twice over what it reduces. So each sample is measured from its
    own mean, then all are joined. `x` is read anew in each pass: what it is computed
    from must be little, or the compiler keeps it in memory.
    """
    batch, *others = axes
    inner = tuple(others) or (batch,)
    count = valid.to(torch.float32).sum(inner, keepdim=True)
    number = count.clamp_min(1.0)
    near = torch.where(valid, x, 0.0).sum(inner, keepdim=True) / number
    centered = torch.where(valid, x - near, 0.0)
    rest = centered.sum(inner, keepdim=True)
    squares = centered.square().sum(inner, keepdim=True)
    if others:
        total = count.sum(batch, keepdim=True)
        number = total.clamp_min(1.0)
        middle = (count * near).sum(batch, keepdim=True) / number
        shift = near - middle
        # Σ (centered + shift)², of which `rest` and `squares` are sums.
        squares = squares + shift * (2.0 * rest + count * shift)
        squares = squares.sum(batch, keepdim=True)
        rest = (rest + count * shift).sum(batch, keepdim=True)
        count, near = total, middle
    rest = rest / number
    variance = (squares / number - rest * rest).clamp_min(0.0)
    return count, near, rest, variance
