"""Where a condition or a number may be read on the way, and every call costs."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._internal.typing import Tensor

# Keras has imported them; on other backends they need not be installed.
_torch: Any = (
    importlib.import_module("torch") if keras.backend.backend() == "torch" else None
)

_tf: Any = (
    importlib.import_module("tensorflow")
    if keras.backend.backend() == "tensorflow"
    else None
)
_jax: Any = importlib.import_module("jax") if keras.backend.backend() == "jax" else None

ARRAYS = (np.ndarray, np.generic)  # `X | Y` ends the graph of torch.compile


def is_eager_on_cpu(x: Tensor) -> bool:
    """True for PyTorch tensors on the CPU: no compiler, and reading waits for nobody.

    A call on a small tensor takes 5 to 25 µs there, a NumPy scalar or a Python operator
    a tenth of it.
    """
    if _torch is None or not isinstance(x, _torch.Tensor) or x.device.type != "cpu":
        return False  # a KerasTensor, of a functional model, is on no device
    return not (is_torch_compiling() or is_transformed())


def is_torch_compiling() -> bool:
    """True while `torch.compile` or `torch.export` traces."""
    return _torch is not None and _torch.compiler.is_compiling()


def is_transformed() -> bool:
    """True inside `torch.func.vmap`, `grad` and the like.

    A tensor has no values there, and an `autograd.Function` such as Keras makes of
    `custom_gradient` is refused.
    """
    if _torch is None or is_torch_compiling():
        return False
    return _torch._C._functorch.peek_interpreter_stack() is not None


def current_backward() -> int:
    """Number of the backward pass that PyTorch computes; -1 if it computes none.

    It calls layers there, to compute again what was not kept.
    """
    if _torch is None or is_torch_compiling():
        return -1
    return int(_torch._C._current_graph_task_id())  # as torch.utils.checkpoint asks


@functools.cache
def file_of_checkpoints() -> str | None:
    """The source of `torch.utils.checkpoint`, as Python's frames name it."""
    if _torch is None:
        return None
    module: Any = importlib.import_module("torch.utils.checkpoint")
    return module.CheckpointFunction.forward.__code__.co_filename


def modules_below(module: Any) -> list[tuple[str, Any]]:
    """Path and module of all that a PyTorch module holds; nothing for anything else."""
    if _torch is None or not isinstance(module, _torch.nn.Module):
        return []
    return list(module.named_modules())


def constant_while_compiling(function: Callable[[], Any]) -> Callable[[], Any]:
    """A function that `torch.compile` calls, rather than compile, for its value."""
    if _torch is None:
        return function
    return _torch.compiler.assume_constant_result(function)


def not_compiled_in_checkpoint(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Call it outside of the graph that `torch.compile` makes, which shows the name."""
    return function(*args, **kwargs)


if _torch is not None:
    not_compiled_in_checkpoint = _torch.compiler.disable(not_compiled_in_checkpoint)


def reaches(x: Tensor, level: Tensor) -> Tensor:
    """`x >= level`, boolean.

    PyTorch on a CPU takes four times as long as NumPy on the same memory.
    """
    if is_eager_on_cpu(x) and x.dtype == _torch.float32:
        return _torch.from_numpy(in_numpy(x) >= in_numpy(level))
    return x >= level


def highest(x: Tensor, axis: Any, least: float) -> Tensor:
    """The largest along axes that are kept, and `least` at least."""
    if is_torch_compiling():  # it finds no way through Keras' `ops.max`
        if 0 in x.shape:
            return ops.sum(x, axis=axis, keepdims=True) + least
        return ops.maximum(ops.amax(x, axis=axis, keepdims=True), least)
    return ops.max(x, axis=axis, keepdims=True, initial=least)


def marked_places(marks: Tensor) -> Tensor:
    """Indices into the flat tensor of what is True; eager PyTorch only."""
    return _torch.from_numpy(np.flatnonzero(in_numpy(marks)))


def at_places(x: Tensor, places: Tensor, like: Tensor) -> Tensor:
    """What of `x`, broadcast against `like`, stands at flat indices of `like`."""
    shape = tuple(x.shape)
    while shape[:1] == (1,):
        shape = shape[1:]
    if shape == tuple(like.shape)[like.ndim - len(shape) :]:
        x, places = x.reshape(-1), _torch.from_numpy(in_numpy(places) % x.numel())
    else:
        x = ops.broadcast_to(x, like.shape).reshape(-1)
    return x.index_select(0, places)


def count_marks(marks: Tensor) -> Tensor:
    """How many are True, float32."""
    if is_eager_on_cpu(marks):
        return np.float32(np.count_nonzero(in_numpy(marks)))
    return ops.cast(ops.sum(marks), "float32")


def kth_of_row(x: Tensor, k: int, near: float) -> Tensor:
    """The k-th largest of a flat tensor; eager PyTorch only.

    Fast where at least k values reach `near`, and few more.
    """
    values = in_numpy(x)
    some = values[values >= near]
    if len(some) < k:
        some = values
    return np.partition(some, len(some) - k)[len(some) - k]


def in_numpy(x: Any) -> Any:
    """A tensor of eager PyTorch as an array on the same memory; all else as it is."""
    return x.detach().numpy() if isinstance(x, _torch.Tensor) else x


def in_torch(x: Any) -> Any:
    """An array as a tensor on the same memory; all else as it is."""
    return _torch.as_tensor(x) if isinstance(x, ARRAYS) else x


def torch_module(what: str) -> Any:
    """PyTorch, for a part of this package that works with nothing else."""
    backend = keras.backend.backend()
    if backend != "torch":
        raise ImportError(
            f"{what} needs Keras to run on PyTorch. It runs on {backend}. Set the "
            "environment variable KERAS_BACKEND=torch before Python starts."
        )
    return _torch


def is_torch_module(x: Any) -> bool:
    """True for a PyTorch module that is not Keras' own."""
    if _torch is None or isinstance(x, keras.layers.Layer):
        return False
    return isinstance(x, _torch.nn.Module)


def either(condition: Tensor, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """`yes()` or `no()`, of which only one is computed.

    Not for PyTorch on a GPU or under `torch.compile`: reading the condition would make
    the one wait, and end the graph of the other.
    """
    if isinstance(condition, keras.KerasTensor) or (
        _jax is not None and isinstance(condition, _jax.core.Tracer)
    ):
        return ops.cond(condition, yes, no)
    # JAX outside a compiled function would compile what it is given anew each time, as
    # it is never the same two functions, and keep it.
    if _jax is not None or _torch is not None:
        return yes() if condition else no()
    return ops.cond(condition, yes, no)


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
    is_scalar = _torch is not None and isinstance(like, np.generic)
    return np if is_scalar or is_eager_on_cpu(like) else ops


def after(data: Tensor, value: Tensor) -> Tensor:
    """`value`, computed only if there are data to compute `data` from.

    In a graph TensorFlow finds out on the way that a data set of unknown length has
    ended. What does not depend on the batch is done by then.
    """
    if _tf is None:
        return value
    with _tf.control_dependencies([data]):
        return _tf.identity(value)


class RandomState:
    """PyTorch's own random numbers from here on, which Keras' dropout takes there.

    Elsewhere, and with a seed of its own, a layer's random state is a variable.
    """

    def __init__(self) -> None:
        self._devices = []
        if _torch is not None:
            self._devices = [_torch]
            if _torch.cuda.is_available() and _torch.cuda.is_initialized():
                self._devices.append(_torch.cuda)
        self._states = [device.get_rng_state() for device in self._devices]

    def put_back(self) -> None:
        for device, state in zip(self._devices, self._states, strict=True):
            device.set_rng_state(state)
