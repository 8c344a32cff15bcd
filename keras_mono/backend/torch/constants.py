"""Numbers on a device: to bring one there is a kernel. And Keras there."""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import torch

from keras_mono._internal.typing import Tensor


def constant(value: float, device: Any) -> Tensor:
    """Float32, or an integer."""
    if torch.compiler.is_compiling():  # what it caches belongs to one graph
        return _new_constant(value, device)
    return _kept_constant(value, device)


def _new_constant(value: float, device: Any) -> Tensor:
    # Not PyTorch's default dtype, which may be half precision.
    dtype = torch.float32 if isinstance(value, float) else torch.int64
    return torch.full((), value, dtype=dtype, device=device)


_kept_constant = functools.lru_cache(256)(_new_constant)


def on_device_of(x: Tensor) -> AbstractContextManager[Any]:
    """Keras computes there; else on its own device, which is a GPU if there is one."""
    # In a graph a function's gradient may set nothing.
    if torch.compiler.is_compiling() and (
        not torch.cuda.is_available() or keras.ops.zeros(()).device == x.device
    ):
        return nullcontext()
    return keras.device(str(x.device))


@functools.cache
def exponents(device: Any) -> Tensor:
    """0, 1, 2. Not for a graph, as `_kept_constant`."""
    return torch.arange(3, device=device)
