"""The kernels that `torch.compile` writes for a GPU, counted without one.

Inductor writes Triton here as for an H100. What would need a GPU is replaced: the
device's properties, Triton's compiler, and the kernels themselves. How the call is
traced, divided and fused is PyTorch's own; no result of the call means anything.
"""

import sys
import types
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch._dynamo
import torch._functorch.config
import torch.utils._triton
from torch._inductor import async_compile, codecache, config, scheduler
from torch._inductor.ir import Conditional, MultiOutput
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.virtualized import V

from support.counted_layers import ACTIVATION, SHAPE, Case

DoesNotCompile = torch._dynamo.exc.TorchDynamoException

# How Inductor divides a reduction depends on them.
_H100 = {
    "multi_processor_count": 132,
    "cc": 90,
    "major": 9,
    "regs_per_multiprocessor": 65536,
    "max_threads_per_multi_processor": 2048,
    "max_threads_per_block": 1024,
    "warp_size": 32,
}


class Generated(NamedTuple):
    """What one compilation wrote, forward and backward."""

    kernels: int  # that a call without a search starts
    searching: int  # that a search starts besides
    traffic: float  # of a call without a search, in activations


class _Kernel(NamedTuple):
    graph: str
    size: int  # bytes of all buffers that it reads and writes, each once


class _NoKernel:
    def run(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


def adapted(layer: Any) -> Any:
    """A training call of an adapter, compiled: outputs and loss."""
    from keras_mono.torch import Adapter

    adapter = Adapter(layer, SHAPE).train()

    @torch.compile(fullgraph=True)
    def call(z: torch.Tensor, mask: torch.Tensor | None) -> Any:
        return adapter(z, mask), adapter.loss

    return call


def by_itself(layer: Any) -> Any:
    """A training call of a Keras layer whose `call` is compiled, and no more."""
    layer.call = torch.compile(layer.call, fullgraph=True)
    return lambda z, mask: (layer(z, mask=mask, training=True), sum(layer.losses))


def generated(case: Case, compiled: Any = adapted, calls: int = 4) -> list[Generated]:
    """What is written for a training call and its gradient, by call that compiles.

    The loss that the gradient comes from is not compiled.
    """
    torch._dynamo.reset()
    call = compiled(case.make())
    mask = torch.ones(SHAPE[:-1], dtype=torch.bool) if case.masked else None
    found = []
    for _ in range(calls):
        kernels: list[_Kernel] = []
        with _writing_for_gpu(kernels):
            out, loss = call(torch.zeros(SHAPE, requires_grad=True), mask)
            (out.sum() + loss).backward()
        if kernels:
            found.append(_summed(kernels))
    torch._dynamo.reset()
    return found


def _summed(kernels: list[_Kernel]) -> Generated:
    always = [k.size for k in kernels if not k.graph.startswith("true_graph")]
    searching = len(kernels) - len(always)
    return Generated(len(always), searching, sum(always) / ACTIVATION)


def _writing_for_gpu(kernels: list[_Kernel]) -> ExitStack:
    """While it is entered, Inductor writes for a GPU and `kernels` gets them."""

    def record(nodes: list[Any]) -> list[Any]:
        graph = V.graph.name or ""
        kernels.extend(_Kernel(graph, _size(n)) for n in nodes if _is_kernel(n))
        return nodes

    def properties(device: Any) -> DeviceProperties:
        known = {k: v for k, v in _H100.items() if k in DeviceProperties._fields}
        return DeviceProperties(type=device.type, index=device.index, **known)

    empty: Any = types.ModuleType("triton")
    empty.language = types.ModuleType("triton.language")
    modules = {"triton": empty, "triton.language": empty.language}
    load = codecache.PyCodeCache.load_by_key_path

    def load_without_triton(*args: Any, **kwargs: Any) -> Any:
        with mock.patch.dict(sys.modules, modules):
            return load(*args, **kwargs)

    stack, patch = ExitStack(), mock.patch.object
    for replaced in (
        config.patch(
            cpu_backend="triton",
            compile_threads=1,
            force_disable_caches=True,
            _post_fusion_custom_pass=record,
        ),
        patch(DeviceProperties, "create", properties),
        patch(async_compile.AsyncCompile, "triton", lambda *_, **__: _NoKernel()),
        patch(torch.utils._triton, "triton_hash_with_backend", lambda: ""),
        patch(codecache.PyCodeCache, "load_by_key_path", load_without_triton),
    ):
        stack.enter_context(replaced)
    return stack


def _is_kernel(node: Any) -> bool:
    if isinstance(node, scheduler.NopKernelSchedulerNode):
        return False
    # A condition is none itself; what PyTorch's own operation returns are views of one.
    return not isinstance(node.node, Conditional | MultiOutput)


def _size(node: Any) -> int:
    """Without buffers that the kernel only has to wait for."""
    deps = node.read_writes.reads | node.read_writes.writes
    names = {dep.name for dep in deps if not isinstance(dep, scheduler.WeakDep)}
    sizes = node.get_read_write_buffer_accesses(include_reads=True, include_writes=True)
    return sum(size for name, size in sizes.items() if name in names)
