"""Where a condition or a number may be read on the way, and every call costs."""

import importlib
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._typing import Tensor


def is_eager_on_cpu(x: Tensor) -> bool:
    """True for PyTorch tensors on the CPU: no compiler, and reading waits for nobody.

    A call on a small tensor takes 5 to 25 µs there, a NumPy scalar or a Python operator
    a tenth of it.
    """
    if keras.backend.backend() != "torch" or x.device.type != "cpu":
        return False
    return not _torch().compiler.is_compiling()


def reaches(x: Tensor, level: Tensor) -> Tensor:
    """`x >= level`: boolean, or 1.0 and 0.0 where that is faster.

    PyTorch on a CPU takes 0.7 ms a million elements to compare into booleans and 1.3 ms
    to choose by them, into floats 0.2 ms and by them 0.4 ms.
    """
    if not is_eager_on_cpu(x):
        return x >= level
    return _torch().ge(x, level, out=x.new_empty(x.shape))


def as_bool(marks: Tensor) -> Tensor:
    """What `reaches` gave, as booleans."""
    return ops.cast(marks, "bool")


def count_marks(marks: Tensor) -> Tensor:
    """How many are True or 1, float32."""
    if not is_eager_on_cpu(marks):
        return ops.cast(ops.sum(marks), "float32")
    if marks.dtype == _torch().bool:  # a third of the time of a sum
        return np.float32(marks.count_nonzero().item())
    return np.float32(marks.sum().item())


def in_common(count: Tensor) -> Tensor:
    """One number instead of a tensor in which all are equal, where looking is free."""
    if is_eager_on_cpu(count) and count.numel() > 1:
        low, high = count.aminmax()
        if low == high:
            return low
    return count


@cache
def _torch() -> Any:
    """Only on its own backend; nothing of this package needs it otherwise."""
    return importlib.import_module("torch")


def scalars(values: Any, like: Tensor) -> list[Any]:
    """Float32 scalars to calculate with: NumPy's where `like` is eager on the CPU."""
    if is_eager_on_cpu(like):
        return [np.float32(float(x)) for x in values]
    return list(values)


def arithmetic(like: Tensor) -> Any:
    """The module with `where`, `maximum`, ... for those scalars."""
    return np if is_eager_on_cpu(like) else ops
