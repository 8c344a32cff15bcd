"""What a training call of a layer would do on an accelerator, counted without one.

PyTorch only. Tensors of the `meta` device have a shape and no values. Every operation
is called there, none computes anything, and to read a number is an error. A layer takes
the same way as on a GPU.

The training call is `(layer(z, training=True).sum() + sum(layer.losses)).backward()`.
A layer that returns its input takes 3 kernels of it: the sum, its gradient 1, and the
copy of the gradient into `z.grad`. `BatchNormalization` takes 45, and `torch.clone`
moves 5 activations.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from keras_mono.backend import backend
from keras_mono.layers.running_statistics import BATCHES_WITHOUT_HISTORY
from keras_mono.selectors.threshold import SEARCH_EVERY
from support.counted_layers import ACTIVATION, FEW, SHAPE, Case

# Not views by their schema, and yet only memory, or another view of it.
_NO_KERNEL = {
    "_reshape_alias",
    "_unsafe_view",
    "empty",
    "empty_like",
    "empty_strided",
    "lift",
    "lift_fresh",
    "new_empty",
    "new_empty_strided",
    "resize_",
}
# The size of the result, or what Python does next, depends on values.
_READS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
_CALLS_THAT_READ = {"__array__", "numpy", "tolist"}
# They take Python's numbers, and on `meta` the dispatcher does not see them.
_CALLS_THAT_UPLOAD = {"as_tensor", "asarray", "new_tensor", "tensor"}
_ONLY_WRITE = {"copy_", "fill_", "zero_"}  # and do not read what they are applied to


# Not by name: the environment of the tests may be called torch, too.
_FOLDERS = tuple(f"{Path(part.__file__).parent}/" for part in (torch, keras))
_ONCE = "constants.py"  # what it makes is kept for the whole process


class HostRead(AssertionError):
    """A number was read from the device, for which the host waits."""


class Operation(NamedTuple):
    """One call of PyTorch's dispatcher."""

    name: str
    backward: bool
    kernel: bool  # whether it starts one
    upload: bool  # copies the host's memory to the device, for which the host waits
    read: int  # bytes
    written: int
    where: str  # the line of Python that called it; none for PyTorch's own gradients

    def __str__(self) -> str:
        part = "backward" if self.backward else "forward"
        size = f"{(self.read + self.written) / ACTIVATION:.2f}" if self.kernel else "-"
        name = self.name + (" (upload)" if self.upload else "")
        return f"{part:8} {size:>6}  {name:36} {self.where}".rstrip()


@dataclass
class Operations:
    """The operations of one training call, in order."""

    all: list[Operation] = field(default_factory=list)

    @property
    def kernels(self) -> int:
        """How many operations start a kernel or copy memory."""
        return self.forward + self.backward

    @property
    def forward(self) -> int:
        return sum(o.kernel and not o.backward for o in self.all)

    @property
    def backward(self) -> int:
        return sum(o.kernel and o.backward for o in self.all)

    @property
    def uploads(self) -> int:
        return sum(o.upload for o in self.all)

    @property
    def traffic(self) -> float:
        """Bytes that kernels read and write, in activations of float32."""
        return sum(o.read + o.written for o in self.all if o.kernel) / ACTIVATION

    def __str__(self) -> str:
        return "\n".join(map(str, self.all))


class _Meta(str):
    """The name of the device `meta`, equal to the device too.

    Keras compares names with devices, which are never equal, and copies what it takes
    to be elsewhere. From a GPU to itself that is no copy. From `meta` it would be a new
    tensor without gradient.
    """

    __slots__ = ()

    def lower(self) -> "_Meta":
        return self

    def __eq__(self, other: object) -> bool:
        return str(other) == "meta"

    def __ne__(self, other: object) -> bool:
        return str(other) != "meta"

    __hash__ = str.__hash__


META = _Meta("meta")


class Recorder(TorchDispatchMode):
    """Records operations while it is entered. A read from the device is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Operations()
        self.backward = False
        self.host_read = ""
        self._calls = _Calls(self)

    def __enter__(self) -> "Recorder":
        self._calls.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._calls.__exit__(*error)

    def add(self, name: str, kernel: bool, upload: bool, size: tuple[int, int]) -> None:
        where = _where()
        kernel = kernel and not where.startswith(_ONCE)
        operation = Operation(name, self.backward, kernel, upload, *size, where)
        self.found.all.append(operation)

    def refuse(self, name: str) -> None:
        self.host_read = f"`{name}` reads from the device: {_where()}"
        raise HostRead(self.host_read)

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        to_host = str(kwargs.get("device")) == "cpu" and not all(map(_on_host, given))
        by_mask = name == "index" and any(x.dtype == torch.bool for x in given[1:])
        if name in _READS or to_host or by_mask:
            self.refuse(name)
        out = func(*args, **kwargs)
        made = _tensors(out)
        if given or made:
            kernel = not (name in _NO_KERNEL or _is_view(func))
            upload = any(map(_on_host, given)) and not any(map(_on_host, made))
            # A scalar of the host goes along with the kernel.
            upload = upload and (len(given) == 1 or name == "copy_")
            size = _traffic(name, func, given, made) if kernel else (0, 0)
            self.add(str(func), kernel, upload, size)
        return out


class _Calls(TorchFunctionMode):
    """Sees calls that do not come to the dispatcher."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, found = func.__name__, self.recorder.found
        if name in _CALLS_THAT_READ:
            self.recorder.refuse(name)
        before = found.uploads
        out = func(*args, **(kwargs or {}))
        uploads = name in _CALLS_THAT_UPLOAD and not _tensors(args[-1:])
        if uploads and not _on_host(out) and found.uploads == before:
            self.recorder.add(f"torch.{name}", True, True, (0, 0))
        return out


def _tensors(tree: Any) -> list[torch.Tensor]:
    """Each tensor once."""
    found = [t for t in tree_leaves(tree) if isinstance(t, torch.Tensor)]
    return list({id(t): t for t in found}.values())


def _on_host(x: torch.Tensor) -> bool:
    return x.device.type == "cpu"


def _is_view(func: Any) -> bool:
    """Whether all results lie in the memory of an argument, which is not changed."""
    returns = func._schema.returns
    return bool(returns) and all(
        r.alias_info is not None and not r.alias_info.is_write for r in returns
    )


def _traffic(name: str, func: Any, given: list, made: list) -> tuple[int, int]:
    """Bytes read and written."""
    if func._schema.is_mutable and not made:  # a list of tensors, which comes first
        made = given[: len(given) // 2]
    if name in _ONLY_WRITE:
        given = given[1:]
    return sum(x.nbytes for x in given), sum(x.nbytes for x in made)


def _where() -> str:
    """The innermost line that is neither PyTorch's, nor Keras', nor of this file."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code is not training_call.__code__:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(_FOLDERS):
            return f"{Path(file).name}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def training_call(layer: Any, z: torch.Tensor, **arguments: Any) -> Operations:
    """The operations of a training call of `layer` on `z`, and of its gradient."""
    z = z.detach().requires_grad_()
    recorder = Recorder()
    try:
        with recorder:
            loss = layer(z, training=True, **arguments).sum()
            for added in getattr(layer, "losses", ()):
                loss = loss + added
            recorder.backward = True
            loss.backward()
    except HostRead:
        raise HostRead(recorder.host_read) from None  # without Keras' addition
    return recorder.found


def training_calls(
    make: Any,
    number: int = 1,
    masked: bool = False,
    shape: tuple[int, ...] = SHAPE,
    history: int = 0,
) -> list[Operations]:
    """The operations of training calls of a new layer on `meta`.

    Of the first, and of those after `history` more, which are left out: the next one
    searches, if a threshold selects.
    """
    with keras.device(META):
        layer = make()
        if hasattr(layer, "build"):
            layer.build(shape)
        z = torch.empty(shape, device=META)
        mask = torch.empty(shape[:-1], dtype=torch.bool, device=META)
        arguments = {"mask": mask} if masked else {}
        found = [training_call(layer, z, **arguments)]
        if history:
            backend.remember(layer.step, 1 + history)
            state = getattr(layer, "_selector_state", None)
            if state is not None:
                backend.remember(state, SEARCH_EVERY)
        found += [training_call(layer, z, **arguments) for _ in range(number - 1)]
        return found


CALLS = 20  # first batches, ordinary ones and searches


class Batches(NamedTuple):
    """The first training calls of a layer, by what they do."""

    first: Operations
    ordinary: Operations  # the one with the fewest kernels after those without history
    looking: Operations  # the one with the most
    number_looking: int  # of three in a row


def batches(case: Case) -> Batches:
    number = 4 if case.select == "threshold" else 2
    of = case.make, number, case.masked
    first, *others = training_calls(*of, history=BATCHES_WITHOUT_HISTORY)
    others.sort(key=lambda operations: operations.kernels)
    ordinary, looking = others[0], others[-1]
    looked = sum(each.kernels > ordinary.kernels for each in others)
    return Batches(first, ordinary, looking, looked)


def _compare_with_values(case: Case) -> dict[str, Any]:
    """Kernels of calls on the CPU, in a process that takes the way of an accelerator.

    Without uploads, which nothing shows on a CPU. The first call reads once how far the
    layer is.
    """
    shape = (4, 8, 16)
    layer = case.make()
    layer.build(shape)
    generator = torch.Generator().manual_seed(0)
    layer(torch.randn(shape, generator=generator), training=True)
    found = [
        training_call(layer, torch.randn(shape, generator=generator))
        for _ in range(CALLS - 1)
    ]
    on_meta = training_calls(case.make, CALLS, shape=shape)[1:]
    return {
        "on meta": [o.kernels - o.uploads for o in on_meta],
        "with values": [o.kernels for o in found],
    }


if __name__ == "__main__":
    for _case in FEW:
        print(json.dumps(_compare_with_values(_case)))
