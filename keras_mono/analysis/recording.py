"""Reading what flows through a model's layers, without changing the model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_mono import _validation
from keras_mono._typing import Tensor
from keras_mono.layers.running_statistics import RunningStatistics


class Recorded(NamedTuple):
    """One call of a layer: the activations there and the mask it was given."""

    value: Tensor
    mask: Tensor | None


class NeverCalledError(ValueError):
    """Layers that the forward pass did not reach."""

    def __init__(self, layers: list[str]) -> None:
        self.layers = layers
        super().__init__(
            f"The model never called the layers {layers} on this data. Watch layers "
            "that take part in the model's forward pass, or run the part of the model "
            "that calls them."
        )


def record(
    model: keras.Model,
    data: Any,
    layers: Mapping[str, keras.layers.Layer],
    batch_size: int,
    consume: Callable[[str, Recorded], None],
) -> None:
    """Run `model` on `data` at inference and hand every watched activation over.

    Of a layer of this library it is the input (its output differs where it inhibits);
    of any other layer the output, with the Keras mask of its input. Runs eagerly, so
    that layers of nested and subclassed models are reached too. Calls `consume(name,
    recorded)` for each call and batch.
    """
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built. Call it once on a batch of inputs, or "
            "`model.build(input_shape)`."
        )
    reached, errors = set(), []

    def keep(name: str, recorded: Recorded) -> None:
        reached.add(name)
        try:
            consume(name, recorded._replace(value=_single(name, recorded.value)))
        except ValueError as error:  # not here, where Keras would wrap it
            errors.append(error)

    with _listening(layers, keep):
        for batch in batches(data, batch_size):
            model(batch, training=False)
            if errors:
                raise errors[0]
    missed = [name for name in layers if name not in reached]
    if missed:
        raise NeverCalledError(missed)


@contextmanager
def replaced(
    layer: keras.layers.Layer, change: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """What a layer gives is `change(output)` while the block runs."""
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        return change(_single(layer.name, original(*args, **kwargs)))

    layer.call = call
    try:
        yield
    finally:
        vars(layer).pop("call", None)


def number_of_samples(data: Any) -> int:
    """Of an array or a structure of arrays."""
    return len(np.asarray(keras.tree.flatten(data)[0]))


def batches(data: Any, batch_size: int) -> Iterator[Any]:
    """Slices of `data`, an array or a structure of arrays with a common first axis."""
    _validation.positive_integer("batch_size", batch_size, "of samples")
    data = keras.tree.map_structure(np.asarray, data)
    lengths = {len(x) if x.ndim else None for x in keras.tree.flatten(data)}
    if len(lengths) != 1 or lengths & {None, 0}:
        raise ValueError(
            "`data` must be an array, or a list, tuple or dict of arrays with the same "
            f"number of samples, at least one. Received lengths: {lengths}. Pass the "
            "model's inputs only, without labels."
        )
    for start in range(0, number_of_samples(data), batch_size):
        stop = start + batch_size
        yield keras.tree.map_structure(lambda x, a=start, b=stop: x[a:b], data)


@contextmanager
def _listening(
    layers: Mapping[str, keras.layers.Layer], keep: Callable[[str, Recorded], None]
) -> Iterator[None]:
    """Hear of every call of the layers while the block runs."""

    def hear_outputs(name: str, layer: keras.layers.Layer) -> None:
        original = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            outputs = original(*args, **kwargs)
            mask = mask_of(args[0]) if args else None
            keep(name, Recorded(outputs, mask))
            return outputs

        layer.call = call

    def hear_inputs(name: str, layer: RunningStatistics) -> None:
        """Also of a layer inside a recurrence, which is not called itself."""

        def observe(z: Tensor, mask: Tensor | None = None) -> None:
            keep(name, Recorded(z, mask))

        layer.observe, layer.observing = observe, True  # type: ignore[method-assign]

    try:
        for name, layer in layers.items():
            ours = isinstance(layer, RunningStatistics)
            (hear_inputs if ours else hear_outputs)(name, layer)
        yield
    finally:
        for layer in layers.values():
            if isinstance(layer, RunningStatistics):
                layer.observing = False
            for wrapped in ("call", "observe"):
                vars(layer).pop(wrapped, None)


def mask_of(x: Any) -> Tensor | None:
    """The mask that Keras would give to a layer called on `x`."""
    if not keras.ops.is_tensor(x):
        return None
    taker = _MaskTaker(autocast=False)
    taker(x)
    return taker.found


class _MaskTaker(keras.layers.Layer):
    supports_masking = True
    found: Tensor | None = None

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.found = mask
        return x


def counted(recorded: Recorded) -> np.ndarray:
    """True at the inputs (positions of samples) that no mask leaves out."""
    shape = tuple(recorded.value.shape)[:-1]
    if recorded.mask is None:
        return np.ones(shape, bool)
    mask = keras.ops.convert_to_numpy(recorded.mask).astype(bool)
    mask = mask.reshape(mask.shape + (1,) * (len(shape) + 1 - mask.ndim))
    if mask.shape[-1] != 1:  # one an activation: none of this library's uses
        mask = mask.any(axis=-1, keepdims=True)
    try:
        return np.broadcast_to(mask[..., 0], shape)
    except ValueError:  # the mask of another axis, before a reduction
        return np.ones(shape, bool)


def _single(name: str, outputs: Any) -> Tensor:
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(
            f"Layer '{name}' has {len(tensors)} outputs; only a layer with one output "
            "can be watched. Name a layer inside or after it."
        )
    return tensors[0]
