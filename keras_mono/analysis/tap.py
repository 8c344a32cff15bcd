"""Hearing what a layer is called with, in the thread that listens and in no other."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras_mono.layers.running_statistics import RunningStatistics

Hearer = Callable[..., Any]

_LOCK = threading.Lock()


class _Tap:
    """Stands for a method of a layer while some thread listens to it."""

    def __init__(self, layer: Any, method: str) -> None:
        self.original = getattr(layer, method)
        self.was_set = method in vars(layer)
        self.hearers: dict[int, Hearer] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        hear = self.hearers.get(threading.get_ident())
        if hear is None:  # another thread, which may be training
            return self.original(*args, **kwargs)
        return hear(self.original, *args, **kwargs)


@contextmanager
def heard(layer: Any, method: str, hear: Hearer) -> Iterator[None]:
    """This thread's calls of a method go to `hear(original, *args, **kwargs)`."""
    thread = threading.get_ident()
    with _LOCK:
        tap = vars(layer).get(method)
        if not isinstance(tap, _Tap):
            tap = _Tap(layer, method)
            setattr(layer, method, tap)
        before = tap.hearers.get(thread)
        tap.hearers[thread] = hear
    try:
        yield
    finally:
        with _LOCK:
            if before is not None:
                tap.hearers[thread] = before
            else:
                del tap.hearers[thread]
            if not tap.hearers:
                vars(layer).pop(method)
                if tap.was_set:
                    setattr(layer, method, tap.original)


class _Threads:
    """True in the threads that it holds."""

    def __init__(self) -> None:
        self.held: list[int] = []

    def __bool__(self) -> bool:
        return threading.get_ident() in self.held


@contextmanager
def observing(layer: RunningStatistics) -> Iterator[None]:
    """The layer's `update_statistics` is called at inference too, in this thread."""
    thread = threading.get_ident()
    with _LOCK:
        threads: Any = layer.calibrating
        if not isinstance(threads, _Threads):
            threads = _Threads()
            layer.calibrating = threads
        threads.held.append(thread)
    try:
        yield
    finally:
        with _LOCK:
            threads.held.remove(thread)
            if not threads.held:
                layer.calibrating = False
