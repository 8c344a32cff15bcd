"""The scale-invariant gradients in closed form, on PyTorch.

The definitions are `keras_mono.ops.scale_invariant_pull` and `_deactivate`, which move
two to three times as much memory. What is saved for the gradient are the deviations of
a batch and numbers of each neuron. Both gradients can be differentiated by what comes
from behind.
"""

from typing import Any, NamedTuple

import torch

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.reference import (
    CONSTANT,
    CONSTANT_AWAY,
    ROUNDING,
    SMALLEST_DENOMINATOR,
)
from keras_mono.backend.torch.constants import constant
from keras_mono.backend.torch.sums import compiled_sums_over
from keras_mono.backend.types import BatchMoments

# Of the variance below which a neuron is constant: what the mean may be rounded by.
_ROUNDED_MEAN = 2.0**-6


class Along(NamedTuple):
    """Reductions of each neuron, along axes that are kept."""

    axes: Axes
    in_one_kernel: bool  # a norm is, and on a CPU it takes ten times as long

    def sum(self, x: Tensor) -> Tensor:
        return x.sum(self.axes, keepdim=True)

    def squares(self, x: Tensor) -> Tensor:
        if self.in_one_kernel:
            return torch.linalg.vector_norm(x, 2, self.axes, keepdim=True).square_()
        return self.sum(x.square())

    def sum_and_squares(self, x: Tensor) -> Any:
        if torch.compiler.is_compiling():
            return compiled_sums_over(self.axes, x, x.square())
        return self.sum(x), self.squares(x)

    def weighted(self, x: Tensor, weight: Tensor, squares: Tensor) -> Tensor:
        """Σ weight · x² of all; weights and `squares`, Σ x², are of each neuron.

        Compiled by rows, in the kernels that compute `x` and count the selected.
        """
        if torch.compiler.is_compiling():
            return (x.square() * weight).sum(-1).sum()
        return torch.dot(squares.flatten(), weight.flatten())

    def largest_times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Largest |x| · factor of all; the factors are of each neuron. 0 of none."""
        if not x.numel():
            return x.sum()
        if torch.compiler.is_compiling():
            return (x.abs() * factor).amax(-1).amax()
        return (self._largest(x) * factor).amax()

    def _largest(self, x: Tensor) -> Tensor:
        if self.in_one_kernel:
            return torch.linalg.vector_norm(x, torch.inf, self.axes, keepdim=True)
        return x.abs().amax(self.axes, keepdim=True)


class Variance(NamedTuple):
    """Of each neuron; see `varies` for what is none."""

    value: Tensor  # biased
    least: Tensor  # that is one
    varies: Tensor  # boolean: whether it is one
    precision: Tensor  # 1 / it; 0 if it is none


class Deviations(NamedTuple):
    """The valid entries of a batch about the means of their neurons."""

    deviation: Tensor  # 0 where nothing counts
    count: Tensor  # of each neuron, at least 1
    mean: Tensor
    shift: Tensor  # the part of the mean that was taken out last
    measured: Tensor | None  # variance

    def variance(self, along: Along) -> Variance:
        variance, mean, shift = self.measured, self.mean, self.shift
        if variance is None:
            variance = along.squares(self.deviation) / self.count
        least = constant(SMALLEST_DENOMINATOR, mean.device)
        least = torch.addcmul(least, mean, mean, value=CONSTANT**2)
        least = torch.addcmul(least, shift, shift, value=CONSTANT_AWAY**2)
        varies = variance > least
        infinity = constant(torch.inf, mean.device)
        precision = torch.where(varies, variance, infinity).reciprocal_()
        return Variance(variance, least, varies, precision)


def deviations(
    z: Tensor, valid: Tensor, along: Along, batch: BatchMoments | None
) -> Deviations:
    """From the means in `batch`, if they are known.

    Its variance is as exact only if it was measured from the batch's own mean, as every
    compiled call does.
    """
    zero, variance = constant(0.0, z.device), None
    z = z.to(torch.float32)
    # In two steps: the mean of large values is rounded, that of the rest is not.
    if batch is not None:
        near, shift, count = batch.anchor, batch.shift, batch.count.clamp_min(1.0)
        deviation = torch.where(valid, (z - near).sub_(shift), zero)
        variance = batch.variance if torch.compiler.is_compiling() else None
    else:
        count = along.sum(valid.to(torch.float32)).clamp_min_(1.0)
        near = along.sum(torch.where(valid, z, zero)) / count
        deviation = torch.where(valid, z - near, zero)
        shift = along.sum(deviation) / count
        deviation.addcmul_(valid, shift, value=-1.0)
    return Deviations(deviation, count, near + shift, shift, variance)


def _as_int8(condition: Tensor) -> Tensor:
    """In no kernel; `torch.compile` has such a view of booleans from 2.13 on only."""
    if torch.compiler.is_compiling():
        return condition.to(torch.int8)
    return condition.view(torch.int8)


class Pull(torch.autograd.Function):
    """`Reference.pull`; `number` are selected, at least 1."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        selected: Tensor,
        number: Tensor,
        valid: Tensor,
        weight: Any,
        along: Along,
        batch: BatchMoments | None,
    ) -> tuple[Tensor, Tensor]:
        zero = constant(0.0, z.device)
        found = deviations(z, valid, along, batch)
        direction = torch.where(selected, found.deviation, zero)
        total, chosen = along.sum_and_squares(direction)
        variance, least, varies, precision = found.variance(along)
        # What rounding leaves, as of neurons with two entries, is no direction; and the
        # mean is rounded the more, the further it is from where it was measured.
        share = constant(ROUNDING**2, z.device)
        share = torch.addcmul(share, least, precision, value=_ROUNDED_MEAN) * precision
        left = along.weighted(direction, share, chosen)
        penalty = along.weighted(direction, precision, chosen) / number
        # Of the mean φ; without the part along the neuron's shift and scale.
        means = [total, chosen * precision]
        shift, scale = torch._foreach_div(means, [found.count] * 2)
        direction.addcmul_(found.deviation, scale, value=-1.0)
        direction.addcmul_(valid, shift, value=-1.0)
        square = along.weighted(direction, precision, along.squares(direction))
        infinity = constant(torch.inf, z.device)
        square = torch.where(square <= left, infinity, square)
        factor = square.rsqrt() * weight * precision
        spread = torch.where(varies, variance, zero).sqrt_()
        ctx.along = along
        ctx.save_for_backward(direction, valid & varies, factor, spread)
        ctx.mark_non_differentiable(penalty)
        return z.clone(), penalty

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        direction, counts, factor, spread = ctx.saved_tensors
        g = upstream.to(torch.float32)
        zero = constant(0.0, g.device)
        counted = torch.where(counts, g, zero)
        # Squares of small numbers would be 0.
        fixed = counted.detach() if torch.is_grad_enabled() else counted
        size = ctx.along.largest_times(fixed, spread)
        unit = spread / torch.where(size > 0.0, size, constant(1.0, g.device))
        length = size * torch.linalg.vector_norm(counted * unit)
        length = torch.where(length < torch.inf, length, zero)  # or NaN
        gradient = torch.addcmul(g, direction, factor * length)
        return gradient.to(upstream.dtype), *[None] * 6


class Deactivate(torch.autograd.Function):
    """`Reference.deactivate`."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        selected: Tensor,
        valid: Tensor,
        mean: Tensor,
        strength: Any,
        along: Along,
        batch: BatchMoments | None,
    ) -> Tensor:
        found = deviations(z, valid, along, batch)
        variance = found.variance(along)
        sign = _as_int8(z > mean) - _as_int8(z < mean)
        ctx.along, ctx.strength = along, strength
        scale, pulled = variance.precision / found.count, selected & variance.varies
        of_batch = scale, found.count, found.deviation
        ctx.save_for_backward(pulled, valid, sign, *of_batch)
        return torch.where(selected, mean.to(z.dtype), z)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        selected, valid, sign, scale, count, deviation = ctx.saved_tensors
        g = upstream.to(torch.float32)
        chosen = torch.where(selected, g, constant(0.0, g.device))
        size, strength = chosen.abs(), ctx.strength
        if isinstance(strength, torch.Tensor):
            size, strength = size * strength, 1.0
        change = torch.addcmul(chosen, size, sign, value=-strength)  # to be taken away
        shift = ctx.along.sum(change) / count
        scale = ctx.along.sum(change * deviation) * scale
        gradient = torch.addcmul(g - change, valid, shift)
        gradient = torch.addcmul(gradient, deviation, scale)
        return gradient.to(upstream.dtype), *[None] * 6
