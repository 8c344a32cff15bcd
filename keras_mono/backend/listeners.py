"""Asking a layer of this library for the activations that it is called with."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras_mono._internal.typing import Tensor

Listener = Callable[[Tensor, Tensor | None], None]  # activations and their mask

_LOCK = threading.Lock()


class Listeners:
    """Who asked for a layer's activations, by thread; true in a thread that did.

    While a thread listens, the layer's calls in this thread change no statistics.
    Calls in other threads, which may be training, are as before.
    """

    def __init__(self) -> None:
        self._by_thread: dict[int, list[Listener]] = {}

    def __bool__(self) -> bool:
        # Without listeners, `torch.compile` does not come to `get_ident`.
        return bool(self._by_thread) and threading.get_ident() in self._by_thread

    def hear(self, z: Tensor, mask: Tensor | None) -> None:
        """Hand activations to the latest listener of this thread."""
        self._by_thread[threading.get_ident()][-1](z, mask)

    @contextmanager
    def added(self, listener: Listener) -> Iterator[None]:
        """This thread's activations go to `listener` while the block runs."""
        thread = threading.get_ident()
        with _LOCK:
            self._by_thread.setdefault(thread, []).append(listener)
        try:
            yield
        finally:
            with _LOCK:
                self._by_thread[thread].remove(listener)
                if not self._by_thread[thread]:
                    del self._by_thread[thread]


def listeners_of(layer: Any) -> Listeners | None:
    """The listeners of a layer of this library; None for any other layer."""
    found = getattr(layer, "listeners", None)
    return found if isinstance(found, Listeners) else None
