"""Reading the activations of a model's layers, without changing the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_mono._internal.forward import forward
from keras_mono._internal.masks import of_rank
from keras_mono._internal.model_layers import named_layers
from keras_mono._internal.recording.call_hooks import hooked, single_output
from keras_mono._internal.recording.masks import Masks, at_positions
from keras_mono._internal.typing import Tensor
from keras_mono.backend.listeners import listeners_of


class Recorded(NamedTuple):
    """Activations at one call of a layer, and their mask if there is one."""

    value: Tensor
    mask: Tensor | None

    def as_float32(self) -> np.ndarray:
        """The activations in NumPy, which has no bfloat16."""
        return keras.ops.convert_to_numpy(keras.ops.cast(self.value, "float32"))


class NeverCalledError(ValueError):
    """Layers that the forward pass did not reach."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers
        super().__init__(
            f"The model never called the layers {layers} on this data. Watch layers "
            "that take part in the model's forward pass, or run the part of the model "
            "that calls them."
        )


def record_batches(
    model: keras.Model,
    inputs: Iterable[Any],
    layers: Mapping[str, keras.layers.Layer],
    consume: Callable[[str, Recorded], None],
    consume_outputs: Callable[[Any, Masks], None] | None = None,
) -> None:
    """Run `model` on batches at inference and hand over the activations of `layers`.

    For a layer of this library these are its inputs, because its outputs differ where
    it inhibits; for any other layer its outputs. The model runs eagerly, so that layers
    of nested and subclassed models are reached too. Only this thread's calls count.

    `consume(name, recorded)` is called for each call of a layer, and after each batch
    `consume_outputs(outputs, masks)` with what the model returns.
    """
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built. Call it once on a batch of inputs, or "
            "`model.build(input_shape)`."
        )
    check_outputs(layers)
    recorder = _Recorder(layers, consume)
    with recorder.attached(model):
        for batch in inputs:
            recorder.masks = Masks()
            outputs = forward(model, batch)
            if recorder.errors:
                raise recorder.errors[0]
            if consume_outputs is not None:
                consume_outputs(outputs, recorder.masks)
    missed = [name for name in layers if name not in recorder.reached]
    if missed:
        raise NeverCalledError(missed)


def check_outputs(layers: Mapping[str, keras.layers.Layer]) -> None:
    """An error, before the model runs, for a layer known to have several outputs."""
    for name, layer in layers.items():
        if listeners_of(layer) is not None:
            continue
        try:
            outputs = layer.output
        except (AttributeError, ValueError):  # never called on symbolic inputs
            continue
        single_output(name, outputs)


class _Recorder:
    """Sees every call of the watched layers, and the masks of all other calls.

    What `consume` raises is kept in `errors`: inside of a layer Keras would wrap it.
    """

    def __init__(
        self,
        layers: Mapping[str, keras.layers.Layer],
        consume: Callable[[str, Recorded], None],
    ) -> None:
        self.layers = layers
        self.consume = consume
        self.masks = Masks()  # of the present batch
        self.reached: set[str] = set()  # names of the layers that were called
        self.errors: list[ValueError] = []
        self._others = {
            id(layer): name
            for name, layer in layers.items()
            if listeners_of(layer) is None
        }

    @contextmanager
    def attached(self, model: keras.Model) -> Iterator[None]:
        """Record what this thread calls while the block runs."""
        with ExitStack() as stack:
            for part in _parts(model, self.layers.values()):
                stack.enter_context(hooked(part, partial(self._call, part)))
            for name, layer in self.layers.items():
                listeners = listeners_of(layer)
                if listeners is not None:
                    stack.enter_context(listeners.added(partial(self._hear, name)))
            yield

    def _call(
        self, layer: Any, original: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        outputs = self.masks.call(layer, original, (args, kwargs))
        if id(layer) in self._others:
            self._keep(self._others[id(layer)], outputs, self.masks.of(outputs))
        return outputs

    def _hear(self, name: str, z: Tensor, mask: Tensor | None) -> None:
        """The input of a layer of this library, inside a recurrence too."""
        remembered = self.masks.of(z) if mask is None else None
        if remembered is not None:  # a mask that Keras does not pass on
            mask = at_positions(remembered, z)
        self._keep(name, z, mask)

    def _keep(self, name: str, outputs: Any, mask: Tensor | None) -> None:
        self.reached.add(name)
        try:
            self.consume(name, Recorded(single_output(name, outputs), mask))
        except ValueError as error:
            self.errors.append(error)


def _parts(model: keras.Model, layers: Iterable[keras.layers.Layer]) -> list[Any]:
    """The model, its layers, and the operations of its functional parts, each once."""
    held = [model, *named_layers(model).values(), *layers]
    operations = [o for x in held for o in getattr(x, "operations", [])]
    parts = {id(x): x for x in [*held, *operations]}.values()
    return [x for x in parts if not isinstance(x, keras.layers.InputLayer)]


def valid_positions(recorded: Recorded) -> np.ndarray:
    """Boolean, one entry per position of the samples; False where it is masked."""
    shape = tuple(recorded.value.shape)[:-1]
    mask = recorded.mask
    mask = None if mask is None else at_positions(mask, recorded.value)
    if mask is None:  # or one of other positions
        return np.ones(shape, bool)
    return np.broadcast_to(keras.ops.convert_to_numpy(of_rank(len(shape), mask)), shape)
