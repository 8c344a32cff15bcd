"""The definition on PyTorch: what is not arithmetic, or what cannot be compiled."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import torch

from keras_mono._internal.typing import Tensor
from keras_mono.backend.reference import Reference
from keras_mono.backend.replicas import of_layer
from keras_mono.backend.torch.constants import constant, on_device_of
from keras_mono.backend.torch.distribution import keras_shards_arrays, process_group
from keras_mono.backend.torch.replacement import ReplaceBy


class TorchDefinition(Reference):
    """The definition, with what is not arithmetic."""

    def device_of(self, variable: keras.Variable) -> AbstractContextManager[Any]:
        return on_device_of(variable.value)

    def max_over(self, x: Tensor, axes: Any) -> Tensor:
        if x.numel():
            return x.amax(axes, keepdim=True)  # `ops.max` cannot be compiled
        return x.sum(axes, keepdim=True)

    def clip(self, x: Tensor, low: float | None, high: float | None = None) -> Tensor:
        if not x.is_floating_point():  # with a float: PyTorch's default dtype
            low, high = (
                constant(bound, x.device) if isinstance(bound, float) else bound
                for bound in (low, high)
            )
        return torch.clamp(x, low, high)

    def cond(
        self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]
    ) -> Any:
        """In a compiled graph as a branch of it; `yes` and `no` return one tensor."""
        if isinstance(condition, torch.Tensor):
            if self.is_compiling():
                return torch.cond(condition, yes, lambda: no().clone(), ())
            if self.is_transformed():  # it has no value
                return torch.where(condition, yes(), no())
        return yes() if condition else no()

    def replace_by(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        gradient: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> Tensor:
        """Keras' own does not work within `torch.func`."""
        return ReplaceBy.apply(z, selected, mean.to(z.dtype), gradient, *tensors)

    def replaced(self, state: Tensor, names: Sequence[str], **values: Any) -> Tensor:
        """In one kernel: of parts that are joined the compiler writes one each."""
        values = {
            name: constant(x, state.device) if isinstance(x, float) else x
            for name, x in values.items()
        }
        if not self.is_compiling():
            return torch.stack([values.get(n, state[i]) for i, n in enumerate(names)])
        index = torch.arange(len(names), device=state.device)
        for name, value in values.items():
            state = torch.where(index == names.index(name), value, state)
        return state

    def held(self, x: Tensor) -> Tensor:
        """A graph changes variables before it computes the gradient.

        What the gradient needs of a pointwise operation, as a copy is, the compiler may
        compute a second time, from the new value. Not what it needs of a `flip`.
        """
        if not self.is_compiling():
            return x
        return x.unsqueeze(0).flip(0).squeeze(0)

    def num_replicas(self) -> int:
        """Processes of the layer's group, or as Keras' distribution has it."""
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            return 1
        if of_layer.is_alone:
            return 1
        if of_layer.process_group is None and keras_shards_arrays():
            return 1
        return int(distributed.get_world_size(process_group()))

    def replica_index(self) -> int:
        if self.num_replicas() == 1:
            return 0
        return int(torch.distributed.get_rank(process_group()))

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        if self.num_replicas() == 1:
            return x
        x = x.detach().contiguous().clone()
        torch.distributed.all_reduce(x, group=process_group())
        return x

    def is_compiling(self) -> bool:
        return bool(torch.compiler.is_compiling())

    def is_transformed(self) -> bool:
        return not self.is_compiling() and has_transform()

    def variables_are_parameters(self) -> bool:
        return True

    def is_foreign_module(self, x: Any) -> bool:
        return isinstance(x, torch.nn.Module) and not isinstance(x, keras.layers.Layer)

    def random_state(self) -> Callable[[], None]:
        """Keras' dropout takes PyTorch's own random numbers."""
        state = torch.get_rng_state()
        on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

        def restore() -> None:
            torch.set_rng_state(state)
            torch.cuda.set_rng_state_all(on_gpus)

        return restore


@torch.compiler.assume_constant_result
def has_transform() -> bool:
    """Of `torch.func`, around the call or in the graph that is compiled."""
    return torch._C._functorch.peek_interpreter_stack() is not None
