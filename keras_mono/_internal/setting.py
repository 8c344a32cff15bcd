"""Numbers in a layer's config that can change without recompiling."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

import keras
import numpy as np
from keras import ops

from keras_mono._internal import presence
from keras_mono.backend import backend

T = TypeVar("T", bound=float)
V = TypeVar("V")


class Setting(Generic[T]):
    """An attribute that belongs to the config and changes without recompiling.

    Once the layer is built, a variable holds the number, which the compiled step reads.
    The Python number is kept too: float32 would round 0.1, and on JAX a running `fit`
    holds the variable's value.
    """

    def __init__(self, check: Callable[[Any], T], doc: str) -> None:
        self.check = check
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, layer: None, owner: type) -> "Setting[T]": ...

    @overload
    def __get__(self, layer: keras.layers.Layer, owner: type) -> T: ...

    def __get__(
        self, layer: keras.layers.Layer | None, owner: type
    ) -> "Setting[T] | T":
        if layer is None:
            return self
        given: T = getattr(layer, f"_given_{self.name}")
        variable = self.variable(layer)
        if variable is None or backend.is_held_by_fit(variable):
            return given
        # They differ after a checkpoint of all variables was restored.
        now = backend.known(variable)
        if now is None:
            now = float(ops.convert_to_numpy(variable))
        return given if now == np.float32(given) else type(given)(now)

    def __set__(self, layer: keras.layers.Layer, value: T) -> None:
        value = self.check(value)
        variable = self.variable(layer)
        if variable is not None:
            presence.check_present(layer, [variable], f"set `{self.name}`")
            variable.assign(float(value))
            backend.remember(variable, float(np.float32(value)))
        setattr(layer, f"_given_{self.name}", value)

    def variable(self, layer: keras.layers.Layer) -> keras.Variable | None:
        """The variable that a compiled step reads; None before the layer is built."""
        found: keras.Variable | None = getattr(layer, f"_{self.name}", None)
        return found


class Fixed(Generic[V]):
    """An attribute that belongs to the config and that a compiled step has built in.

    It is checked whenever it is set, and cannot be set once the layer is built: a step
    that is compiled would go on with the old one. Without `__get__`, so that a layer's
    own dictionary is read.
    """

    def __init__(self, check: Callable[[Any], V], from_start: bool = False) -> None:
        self.check = check
        self.from_start = from_start  # not before the layer is built either

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        def __get__(self, layer: Any, owner: type) -> V: ...

    def __set__(self, layer: keras.layers.Layer, value: Any) -> None:
        is_there = self.name in vars(layer)
        if is_there and (self.from_start or layer.built):
            self._refuse(layer)
        vars(layer)[self.name] = self.check(value)

    def _refuse(self, layer: keras.layers.Layer) -> NoReturn:
        kind, name = type(layer).__name__, self.name
        raise AttributeError(
            f"`{name}` of layer '{layer.name}' cannot be set once the layer is "
            f"{'made' if self.from_start else 'built'}. Make another: "
            f"`{kind}.from_config({{**layer.get_config(), '{name}': ...}})`."
        )


def settings_of(layer: keras.layers.Layer) -> dict[str, keras.Variable | None]:
    """The variables of a layer's settings by name; None before it is built."""
    kind: Any = type(layer)
    return {x.name: x.variable(layer) for x in _settings(kind)}


@cache
def _settings(kind: Any) -> tuple[Setting[Any], ...]:
    held = [x for base in kind.__mro__ for x in vars(base).values()]
    return tuple(x for x in held if isinstance(x, Setting))
