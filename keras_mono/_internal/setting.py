"""The attributes of a layer that are its config."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

import keras
import numpy as np
from keras import ops

from keras_mono.backend import backend

T = TypeVar("T", bound=float)
V = TypeVar("V")


class _Argument(Generic[V]):
    """An attribute that belongs to the config, and is checked whenever it is set."""

    def __init__(self, check: Callable[[str, Any], V]) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class Setting(_Argument[T]):
    """A number that changes without recompiling.

    Once the layer is built, a variable holds the number, which the compiled step reads.
    The Python number is kept too: float32 would round 0.1, and on JAX a running `fit`
    holds the variable's value.
    """

    def __init__(self, check: Callable[[str, Any], T], doc: str) -> None:
        super().__init__(check)
        self.__doc__ = doc

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

    def __set__(self, layer: Any, value: T) -> None:
        value = self.check(self.name, value)
        variable = self.variable(layer)
        if variable is not None:
            layer.check_present(f"set `{self.name}`")
            variable.assign(float(value))
            backend.remember(variable, float(np.float32(value)))
        setattr(layer, f"_given_{self.name}", value)

    def build(self, layer: keras.layers.Layer) -> None:
        """Make the variable."""
        value = float(self.__get__(layer, type(layer)))
        variable = layer.add_weight(
            name=self.name,
            shape=(),
            dtype="float32",
            initializer=keras.initializers.Constant(value),
            trainable=False,
            autocast=False,
        )
        backend.remember(variable, float(np.float32(value)))
        setattr(layer, f"_{self.name}", variable)

    def variable(self, layer: keras.layers.Layer) -> keras.Variable | None:
        """The variable that a compiled step reads; None before the layer is built."""
        return getattr(layer, f"_{self.name}", None)


class Fixed(_Argument[V]):
    """An argument that a compiled step has built in.

    It cannot be set once the layer is built: a step that is compiled would go on with
    the old one. Without `__get__`, so that a layer's own dictionary is read.
    """

    def __init__(
        self, check: Callable[[str, Any], V], from_start: bool = False
    ) -> None:
        super().__init__(check)
        self.from_start = from_start  # not before the layer is built either

    if TYPE_CHECKING:

        def __get__(self, layer: Any, owner: type) -> V: ...

    def __set__(self, layer: keras.layers.Layer, value: Any) -> None:
        kind, name = type(layer).__name__, self.name
        if name in vars(layer) and (self.from_start or layer.built):
            config = f"{{**layer.get_config(), '{name}': ...}}"
            done, how = "built", f".from_config({config})"
            if self.from_start:  # other defaults may follow from it
                done, how = "made", f"({name}=...)"
            raise AttributeError(
                f"`{name}` of layer '{layer.name}' cannot be set once the layer is "
                f"{done}. Make another: `{kind}{how}`."
            )
        vars(layer)[name] = self.check(name, value)


class SettingOfAnother:
    """The name of another's setting: set here, it would change nothing."""

    def __init__(self, other: str, instead: str) -> None:
        self.other, self.instead = other, instead

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type) -> NoReturn:
        raise AttributeError(
            f"`{owner.__name__}` has no `{self.name}`: that is a setting of "
            f"{self.other}. Use `{self.instead}`."
        )

    def __set__(self, layer: Any, value: Any) -> None:
        self.__get__(layer, type(layer))


def config_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """What a layer's `get_config` returns of its arguments."""
    kind: Any = type(layer)
    names = [x.name for x in _arguments(kind)]
    return {n: keras.saving.serialize_keras_object(getattr(layer, n)) for n in names}


def settings_of(layer: keras.layers.Layer) -> dict[str, keras.Variable | None]:
    """The variables of a layer's settings by name; None before it is built."""
    return {x.name: x.variable(layer) for x in _settings(type(layer))}


def build_settings(layer: keras.layers.Layer) -> None:
    """Make the variables of a layer's settings."""
    for setting in _settings(type(layer)):
        setting.build(layer)


def _settings(kind: Any) -> list[Setting[Any]]:
    return [x for x in _arguments(kind) if isinstance(x, Setting)]


@cache
def _arguments(kind: Any) -> tuple[_Argument[Any], ...]:
    """The arguments of a class, those of its base classes first."""
    held = [x for base in reversed(kind.__mro__) for x in vars(base).values()]
    return tuple(x for x in held if isinstance(x, _Argument))
