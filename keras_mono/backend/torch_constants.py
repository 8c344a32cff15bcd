"""Numbers on the device: to bring one there is a kernel."""

import functools
from typing import Any

import torch

from keras_mono._internal.typing import Tensor


def constant(value: float, device: Any) -> Tensor:
    if torch.compiler.is_compiling():  # what it caches belongs to one graph
        return torch.full((), value, device=device)
    return _kept_constant(value, device)


@functools.lru_cache(256)
def _kept_constant(value: float, device: Any) -> Tensor:
    return torch.full((), value, device=device)


@functools.cache
def exponents(device: Any) -> Tensor:
    """0, 1, 2. Not for a graph, as `_kept_constant`."""
    return torch.arange(3, device=device)
