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


of_layer = _OfLayer()  # no group: the default one


class Replicas:
    """Within it replicas are the processes of this group; there are none if alone.

    A class, because `torch.compile` cannot trace a generator here.
    """

    def __init__(self, group: Any, is_alone: bool) -> None:
        self._now = group, is_alone

    def __enter__(self) -> None:
        self._before = of_layer.process_group, of_layer.is_alone
        of_layer.process_group, of_layer.is_alone = self._now

    def __exit__(self, *_: object) -> None:
        of_layer.process_group, of_layer.is_alone = self._before


def alone() -> Replicas:
    """Within it there are no other replicas: sums are those of this one."""
    return Replicas(of_layer.process_group, True)


def with_its_group(method: Method) -> Method:
    """For methods of layers: replicas are those of the layer's `process_group`."""

    @functools.wraps(method)
    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.process_group is None:
            return method(layer, *args, **kwargs)
        with Replicas(layer.process_group, of_layer.is_alone):
            return method(layer, *args, **kwargs)

    return cast(Method, call)


def with_these(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with the replicas of this moment, whichever thread calls it.

    PyTorch may compute gradients in a thread of its own.
    """
    group, is_alone = of_layer.process_group, of_layer.is_alone
    if group is None and not is_alone:
        return function

    def call(*args: Any) -> Any:
        with Replicas(group, is_alone):
            return function(*args)

    return call
