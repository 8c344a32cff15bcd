"""The selected replaced by their mean, with another gradient, on PyTorch."""

from typing import Any

import torch

from keras_mono._internal.typing import Tensor
from keras_mono.backend.torch.constants import on_device_of


class Replace(torch.autograd.Function):
    """`Reference.replace` in two passes over the activations."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, selected: Tensor, mean: Tensor, factor: Any
    ) -> Tensor:
        kept = selected.logical_not()
        tensors = [kept, factor] if isinstance(factor, torch.Tensor) else [kept]
        ctx.save_for_backward(*tensors)
        ctx.factor = factor
        return torch.where(selected, mean, z)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        kept, *factor = ctx.saved_tensors
        if factor:
            scaled = factor[0].to(upstream.dtype) * upstream
            return torch.where(kept, upstream, scaled), None, None, None
        # `upstream` where `kept` is above 0, else times the factor.
        scaled = torch.ops.aten.leaky_relu_backward(upstream, kept, ctx.factor, False)
        return scaled, None, None, None


class ReplaceBy(torch.autograd.Function):
    """`Reference.replace_by`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, selected: Tensor, mean: Tensor, *_: Any) -> Tensor:
        return torch.where(selected, mean, z)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG004
        _, _, _, ctx.gradient, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        with on_device_of(upstream):
            found = ctx.gradient(upstream, *tensors)
        return found, None, None, None, *[None] * len(tensors)
