"""Where a condition or a number may be read on the way, and every call costs."""

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._typing import Tensor

# Keras has imported it; on other backends it need not be installed.
_torch: Any = (
    importlib.import_module("torch") if keras.backend.backend() == "torch" else None
)


def is_eager_on_cpu(x: Tensor) -> bool:
    """True for PyTorch tensors on the CPU: no compiler, and reading waits for nobody.

    A call on a small tensor takes 5 to 25 µs there, a NumPy scalar or a Python operator
    a tenth of it.
    """
    if _torch is None or x.device.type != "cpu":
        return False
    return not is_torch_compiling()


def is_torch_compiling() -> bool:
    """True while `torch.compile` or `torch.export` traces."""
    return _torch is not None and _torch.compiler.is_compiling()


def is_in_backward() -> bool:
    """True while PyTorch computes gradients, which calls layers that it recomputes."""
    if _torch is None or is_torch_compiling():
        return False
    return _torch._C._current_graph_task_id() != -1  # as torch.utils.checkpoint asks


def reaches(x: Tensor, level: Tensor, overwrite: bool = False) -> Tensor:
    """`x >= level`: boolean, or 1.0 and 0.0 where that is faster.

    PyTorch on a CPU takes 0.7 ms a million elements to compare into booleans and 0.2 ms
    into floats. With `overwrite` these replace `x`: every new large tensor costs more
    than what is done with it, in page faults.
    """
    if not is_eager_on_cpu(x):
        return x >= level
    return _torch.ge(x, level, out=x if overwrite else x.new_empty(x.shape))


def marked_places(marks: Tensor) -> Tensor:
    """Indices into the flat tensor of what `reaches` marked; eager PyTorch only.

    NumPy finds them in half of PyTorch's time, and works on the same memory.
    """
    found = np.flatnonzero(ops.convert_to_numpy(as_bool(marks)))
    return ops.convert_to_tensor(found)


def at_places(x: Tensor, places: Tensor, like: Tensor) -> Tensor:
    """What of `x`, broadcast against `like`, stands at flat indices of `like`."""
    shape = tuple(x.shape)
    while shape[:1] == (1,):
        shape = shape[1:]
    if shape == tuple(like.shape)[like.ndim - len(shape) :]:
        return x.reshape(-1)[places % x.numel()]
    return ops.broadcast_to(x, like.shape).reshape(-1)[places]


def as_bool(marks: Tensor) -> Tensor:
    """What `reaches` gave, as booleans."""
    return ops.cast(marks, "bool")


def count_marks(marks: Tensor) -> Tensor:
    """How many are True or 1, float32."""
    if not is_eager_on_cpu(marks):
        return ops.cast(ops.sum(marks), "float32")
    if marks.dtype == _torch.bool:  # a third of the time of a sum
        return np.float32(marks.count_nonzero().item())
    return np.float32(marks.sum().item())


def in_common(count: Tensor) -> Tensor:
    """One number instead of a tensor in which all are equal, where looking is free."""
    if is_eager_on_cpu(count) and count.numel() > 1:
        low, high = count.aminmax()
        if low == high:
            return low
    return count


def torch_module(what: str) -> Any:
    """PyTorch, for a part of this package that works with nothing else."""
    backend = keras.backend.backend()
    if backend != "torch":
        raise ImportError(
            f"{what} needs Keras to run on PyTorch. It runs on {backend}. Set the "
            "environment variable KERAS_BACKEND=torch before Python starts."
        )
    return _torch


def compiled_cond(
    condition: Tensor,
    if_true: Callable[..., Any],
    if_false: Callable[..., Any],
    *operands: Tensor,
) -> Tensor:
    """One of two functions of the operands, under `torch.compile`.

    Keras' own `ops.cond` and `ops.fori_loop` read the condition there, which ends the
    compiled graph.
    """
    return _torch.cond(condition, if_true, if_false, operands)


def computed_once(phi: Tensor) -> Tensor:
    """`phi`, which XLA on JAX may not compute a second time for another use of it.

    It does so to save memory traffic, and where it contracts a product and a sum it may
    round the second time differently: then no φ reaches the largest φ, and nothing is
    selected. Seen on a CPU behind an LSTM cell; an optimization barrier did not help.
    What a loop carries is computed once, also if it makes no pass.
    """
    if keras.backend.backend() != "jax":
        return phi
    first = ops.reshape(phi, (-1,))[:1]
    never = ops.sum(ops.cast(first != first, "int32"))  # φ is not NaN
    return ops.fori_loop(0, never, _add_one, phi)


def _add_one(_: Any, phi: Tensor) -> Tensor:
    return phi + 1.0  # a loop that changes nothing would be taken out


def scalars(values: Any, like: Tensor) -> list[Any]:
    """Float32 scalars to calculate with: NumPy's where `like` is eager on the CPU."""
    if is_eager_on_cpu(like):
        return [np.float32(float(x)) for x in values]
    return list(values)


def arithmetic(like: Tensor) -> Any:
    """The module with `where`, `maximum`, ... for those scalars."""
    return np if is_eager_on_cpu(like) else ops
