"""The replicas of the layer that is being computed (PyTorch).

A backend's methods are shared by all layers, and layers may have a group each.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


class _OfLayer(threading.local):
    process_group: Any = None
    is_alone = False


_of_layer = _OfLayer()


def process_group() -> Any:
    """The group that was set for the layer; None if none was."""
    return _of_layer.process_group


def is_alone() -> bool:
    """True within `Alone`."""
    return _of_layer.is_alone


class Alone:
    """Within it there are no other replicas: sums are those of this one.

    `Alone(False)`: there are, whatever holds around it.
    """

    def __init__(self, is_alone: bool = True) -> None:
        self._is_alone = is_alone

    def __enter__(self) -> None:
        self._before = _of_layer.is_alone
        _of_layer.is_alone = self._is_alone

    def __exit__(self, *_: object) -> None:
        _of_layer.is_alone = self._before


def with_its_group(method: Method) -> Method:
    """For methods of layers: replicas are those of the layer's `process_group`."""

    @functools.wraps(method)
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.process_group is None:
            return method(layer, *args, **kwargs)
        with _Replicas(layer.process_group):
            return method(layer, *args, **kwargs)

    return cast(Method, call)


def with_these(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the replicas of this moment, whichever thread calls it.

    PyTorch may compute gradients in a thread of its own.
    """
    group, alone = process_group(), is_alone()
    if group is None and not alone:
        return function

    def call(*args: Any) -> Any:
        with Alone(alone), _Replicas(group):
            return function(*args)

    return call


class _Replicas:
    """Within it replicas are the processes of this group.

    A class, because `torch.compile` cannot trace a generator here.
    """

    def __init__(self, group: Any) -> None:
        self._group = group

    def __enter__(self) -> None:
        self._before = _of_layer.process_group
        _of_layer.process_group = self._group

    def __exit__(self, *_: object) -> None:
        _of_layer.process_group = self._before
