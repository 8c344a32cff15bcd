"""The penalties with their gradients in closed form, on PyTorch.

Autograd through the definitions starts twice as many kernels or more, and keeps the
numbers of each step. Both functions return the deviations too, from which they compute
the gradient: only so can a gradient of the gradient pass through them.
"""

from collections.abc import Callable
from typing import Any

import torch

from keras_mono._internal.typing import Tensor
from keras_mono.backend.reference import SMALLEST_DEVIATION
from keras_mono.backend.torch.constants import constant, on_device_of
from keras_mono.backend.torch.scale_invariant import Along, deviations
from keras_mono.backend.types import BatchMoments


class MeanLogarithm(torch.autograd.Function):
    """`Reference.log_penalty`, and the deviations; `number` are selected, at least 1.

    The gradient is 2·weight / (number·deviation). The deviation is infinite where
    nothing is selected.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        compensation: Tensor | None,
        number: Tensor,
        weight: float,
    ) -> tuple[Tensor, Tensor]:
        zero = constant(0.0, z.device)
        deviation = z.to(torch.float32) - mean
        if compensation is not None:
            deviation -= compensation
        deviation = torch.where(selected, deviation, constant(torch.inf, z.device))
        ctx.save_for_backward(deviation, number)
        ctx.dtype, ctx.weight = z.dtype, weight
        ctx.set_materialize_grads(False)
        squared = deviation.square().clamp_min_(SMALLEST_DEVIATION**2)
        logarithms = torch.xlogy(selected, squared).sum()
        return torch.addcdiv(zero, logarithms, number, value=weight), deviation

    @staticmethod
    def backward(
        ctx: Any, upstream: Tensor | None, of_deviation: Tensor | None
    ) -> tuple[Tensor | None, None, None, None, None, None]:
        deviation, number = ctx.saved_tensors
        zero = constant(0.0, deviation.device)
        if torch.is_grad_enabled():  # its own gradient must be finite
            near = deviation.abs() < SMALLEST_DEVIATION
            deviation = deviation.masked_fill(near, torch.inf)
        if upstream is not None:
            upstream = torch.addcdiv(zero, upstream, number, value=2.0 * ctx.weight)
            upstream = torch.addcdiv(zero, upstream, deviation)
            upstream = torch.ops.aten.hardshrink_backward(  # 0 where the two are near
                upstream, deviation, SMALLEST_DEVIATION
            )
        if of_deviation is not None:
            of_deviation = torch.where(deviation < torch.inf, of_deviation, zero)
        of_z = _sum(upstream, of_deviation, ctx.dtype)
        return of_z, None, None, None, None, None


class MeanPhi(torch.autograd.Function):
    """`Reference.mean_phi`, and the deviations from the batch's means.

    Let d be the deviation of an entry, v the variance of its neuron, and e = d where
    the entry is selected, else 0. With the neuron's means of e and e²/v over the batch,
    the gradient of Σ e²/v is `2/v · (e - mean of e - d · mean of e²/v)`. The gradient
    of the gradient is that of the definition, at d: it has no part along a shift.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        selected: Tensor,
        number: Tensor,
        valid: Tensor,
        along: Along,
        batch: BatchMoments | None,
        definition: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        zero = constant(0.0, z.device)
        ctx.dtype, ctx.definition = z.dtype, definition
        ctx.set_materialize_grads(False)
        found = deviations(z, valid, along, batch)
        deviation = found.deviation
        chosen = torch.where(selected, deviation, zero)
        total, phi = along.sum_and_squares(chosen)
        precision = found.variance(along).precision
        phi = phi * precision
        means = torch._foreach_div([total, phi], [found.count] * 2)
        ctx.save_for_backward(deviation, chosen, valid, precision, number, *means)
        return phi.sum() / number, deviation

    @staticmethod
    def backward(
        ctx: Any, upstream: Tensor | None, of_deviation: Tensor | None
    ) -> tuple[Tensor | None, None, None, None, None, None, None]:
        deviation, chosen, valid, precision, number, shift, scale = ctx.saved_tensors
        zero = constant(0.0, deviation.device)
        gradient = None
        is_compiled = torch.compiler.is_compiling()  # which has no second gradient
        if upstream is not None and torch.is_grad_enabled() and not is_compiled:
            with on_device_of(deviation):
                of = ctx.definition(deviation), deviation, upstream
                (gradient,) = torch.autograd.grad(*of, create_graph=True)
        elif upstream is not None:
            factor = torch.addcdiv(zero, upstream, number, value=2.0) * precision
            gradient = torch.addcmul(chosen, deviation, scale, value=-1.0)
            gradient.addcmul_(valid, shift, value=-1.0).mul_(factor)
        if of_deviation is not None:
            of_deviation = torch.where(valid, of_deviation, zero)
        of_z = _sum(gradient, of_deviation, ctx.dtype)
        return of_z, None, None, None, None, None, None


def _sum(x: Tensor | None, y: Tensor | None, dtype: Any) -> Tensor | None:
    """None is nothing."""
    if x is None or y is None:
        x = y if x is None else x
        return None if x is None else x.to(dtype)
    return (x + y).to(dtype)
