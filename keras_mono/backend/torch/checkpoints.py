"""Calls that PyTorch repeats in the backward pass, where no batch may count again.

`torch.utils.checkpoint`, on which `keras.RematScope` rests there, does not keep what a
block computes, and runs the block again when its gradient is due. By then the
statistics have moved on. So a layer keeps what its first call did, and the repetition
does the same. It is kept with PyTorch's own record of that run of the block, which
lives as long as the graph: several runs may wait for their backward pass, in any order,
and some never get one.

PyTorch has no public way to ask for that record; the Python frames of the caller hold
it. Where they do not, as in another library's checkpointing, a repetition is an error.
"""

import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

import torch
import torch.utils.checkpoint
from torch.utils._python_dispatch import (
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)

from keras_mono.backend.calls import TrainingCall as AnyTrainingCall

# Functions; with and without `use_reentrant`, whose name PyTorch 2.15 has changed.
_FIRST = ("forward", "checkpoint", "_checkpoint_impl")
_REPEATED = ("backward", "unpack_hook")
_SELECTIVE = tuple(
    getattr(torch.utils.checkpoint, name)
    for name in ("_CachingTorchDispatchMode", "_CachedTorchDispatchMode")
    if hasattr(torch.utils.checkpoint, name)
)
_FILE = torch.utils.checkpoint.CheckpointFunction.forward.__code__.co_filename


def current_backward() -> int:
    """Number of the backward pass that PyTorch computes; -1 if it computes none.

    It calls layers there, to compute again what was not kept.
    """
    if torch.compiler.is_compiling():
        return -1
    return int(torch._C._current_graph_task_id())  # as torch.utils.checkpoint asks


class TrainingCall(AnyTrainingCall):
    """Knows the checkpointed blocks that it is part of."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._starting: list[Any] = []
        self._repeated: Any = None
        if torch.compiler.is_compiling():
            return
        self._look_around()
        self.repeats = self._repeated is not None
        self.may_be_repeated = bool(self._starting)
        if current_backward() != -1 and not self.repeats:
            raise _unknown_repetition(layer)

    def keep(self, what: Any) -> None:
        for run in self._starting:
            _calls_in(run, self._layer).kept.append(what)

    def kept(self) -> Any:
        calls, backward = _calls_in(self._repeated, self._layer), current_backward()
        if calls.backward != backward:  # the block runs again from its start
            calls.backward, calls.repeated = backward, 0
        if backward == -1 or calls.repeated >= len(calls.kept):
            raise _unknown_repetition(self._layer)
        what = calls.kept[calls.repeated]
        calls.repeated += 1
        self.keep(what)
        return what

    def _look_around(self) -> None:
        """Find the runs of blocks, which may be nested.

        The innermost one that is repeated is the one that is repeated here; blocks
        inside of it start a run of their own.
        """
        for frame in _frames_of_checkpoints():
            name = frame.f_code.co_name
            if name in _REPEATED:
                self._repeated = _run_of(frame)
                return
            if name in _FIRST and (run := _run_of(frame)) is not None:
                self._starting.append(run)
                self.without_gradient |= name == "forward"


def repeats_training(layer: Any) -> bool:
    """Whether this call repeats one that kept something, hence a training call.

    Keras 3.16 says `training=None` when it repeats, whatever it said before.
    """
    if current_backward() == -1:
        return False
    for frame in _frames_of_checkpoints():
        if frame.f_code.co_name in _REPEATED:
            return layer in _calls.get(_run_of(frame), {})
    return False


def counted_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """For methods that make a `TrainingCall`, which has to see the caller's frames.

    In a checkpointed block `torch.compile` leaves the method out of its graph: within a
    graph it would repeat it with the statistics that have moved on.
    """

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            if _is_in_checkpoint():
                return _not_compiled_in_checkpoint(call, *args, **kwargs)
            return method(*args, **kwargs)
        with _without_selection():
            return method(*args, **kwargs)

    return call


@torch.compiler.disable
def _not_compiled_in_checkpoint(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Outside of the graph that `torch.compile` makes, which shows this name."""
    return function(*args, **kwargs)


def _without_selection() -> AbstractContextManager[Any]:
    """Hides the layer from a policy that chooses which operations a block keeps.

    What it kept is handed out by the order of operations, and a repetition has fewer.
    """
    if any(isinstance(m, _SELECTIVE) for m in _get_current_dispatch_mode_stack()):
        return _disable_current_modes()
    return nullcontext()


@torch.compiler.assume_constant_result
def _is_in_checkpoint() -> bool:
    """Of the call that is being compiled: around the compiler, or within its graph."""
    codes = (frame.f_code for frame in _frames())
    of_graph = "CheckpointHigherOrderVariable."
    return any(
        code.co_filename == _FILE or code.co_qualname.startswith(of_graph)
        for code in codes
    )


def _frames() -> Iterator[FrameType]:
    """Those of the callers, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _frames_of_checkpoints() -> Iterator[FrameType]:
    """Those that belong to PyTorch's `checkpoint.py`."""
    return (frame for frame in _frames() if frame.f_code.co_filename == _FILE)


class _Calls:
    """What a layer's calls in a run of a block kept, in order."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.repeated = 0  # so many of them
        self.backward = -1  # in this backward pass


_calls: weakref.WeakKeyDictionary[Any, dict[Any, _Calls]] = weakref.WeakKeyDictionary()


def _calls_in(run: Any, layer: Any) -> _Calls:
    return _calls.setdefault(run, {}).setdefault(layer, _Calls())


def _run_of(frame: FrameType) -> Any:
    """PyTorch's record of the run that a function of its `checkpoint.py` works on.

    The same object in the first run and when it is repeated.
    """
    names = frame.f_locals
    if frame.f_code.co_name in ("checkpoint", "_checkpoint_impl"):
        generator = names.get("gen")  # none with `use_reentrant`
        return generator and generator.gi_frame.f_locals.get("new_frame")
    # Up to PyTorch 2.11 at least, `unpack_hook` has a `ctx` too: that of the inputs.
    return names.get("frame", names.get("ctx"))


def _unknown_repetition(layer: Any) -> RuntimeError:
    return RuntimeError(
        f"{_place(layer)} was computed again in the backward pass, and what its first "
        "call did is not known, so its batch would count twice. Use "
        "`torch.utils.checkpoint.checkpoint` (HuggingFace's "
        "`gradient_checkpointing_enable` does) or `keras.RematScope` in place of "
        "another checkpointing, or end the checkpointed block before this module and "
        "begin the next one behind it."
    )


def _place(layer: Any) -> str:
    """The path of the PyTorch module in the largest one that is being computed."""
    given = layer.name
    name = f"Layer '{given}'"
    for frame in _frames():
        holder = frame.f_locals.get("self")
        found = holder.named_modules() if isinstance(holder, torch.nn.Module) else ()
        for path, module in found:
            if path and (module is layer or getattr(module, "layer", None) is layer):
                name = f"Module '{path}' of a {type(holder).__name__} ({given})"
    return name
