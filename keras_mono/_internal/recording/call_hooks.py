"""Hooks on the calls of Keras layers, which Keras itself does not offer.

A hook replaces `call` of one layer while a block of code runs. Nothing else in this
package replaces a method, and this does for want of something better:

- `__call__` is looked up on the class, so it cannot be wrapped for one layer.
- A functional model of the watched outputs does not reach into subclassed models, and
  nobody sees the arguments of the calls in it, among which are the masks.
- PyTorch's forward hooks exist on one backend, and not for the operations of a
  functional model.

Layers of this library are asked for their input instead: see `listeners`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_mono._internal.typing import Tensor

Hook = Callable[..., Any]

_LOCK = threading.Lock()


class _HookedCall:
    """Stands for the `call` of a layer while some thread has a hook there."""

    def __init__(self, layer: Any) -> None:
        self.original = layer.call
        self.was_set = "call" in vars(layer)
        self.hooks: dict[int, Hook] = {}  # by thread

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hook = self.hooks.get(threading.get_ident())
        if hook is None:  # another thread, which may be training
            return self.original(*args, **kwargs)
        return hook(self.original, *args, **kwargs)


@contextmanager
def hooked(layer: Any, hook: Hook) -> Iterator[None]:
    """This thread's calls of `layer` return `hook(original_call, *args, **kwargs)`.

    It may be a layer, a model, or an operation of a functional model.
    """
    thread = threading.get_ident()
    with _LOCK:
        call = vars(layer).get("call")
        if not isinstance(call, _HookedCall):
            call = layer.call = _HookedCall(layer)
        call.hooks[thread] = hook
    try:
        yield
    finally:
        with _LOCK:
            del call.hooks[thread]
            if not call.hooks:
                vars(layer).pop("call")
                if call.was_set:
                    layer.call = call.original


@contextmanager
def changed_output(
    layer: keras.layers.Layer, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """This thread's calls of `layer` return `change(output)` while the block runs."""

    def hook(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return change(single_output(layer.name, original(*args, **kwargs)))

    with hooked(layer, hook):
        yield


def single_output(layer: str, outputs: Any) -> Tensor:
    """The one tensor that a call of a layer returned, or a `ValueError`."""
    advice = (
        "Only one output can be watched: name a layer inside it, or one that takes the "
        "output. If there is none, watch it in a model that has one: "
        "`keras.Model(model.input, keras.layers.Identity(name='watched')"
        f"(model.get_layer('{layer}').output[0]))`."
    )
    return single_tensor(f"Layer '{layer}'", outputs, advice)


def single_tensor(of: str, outputs: Any, advice: str) -> Tensor:
    """The one tensor in `outputs`, or a `ValueError`."""
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(f"{of} has {len(tensors)} outputs. {advice}")
    return tensors[0]
