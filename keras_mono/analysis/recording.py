"""Reading what flows through a model's layers, without changing the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_mono._internal.model_layers import named_layers
from keras_mono._internal.typing import Tensor
from keras_mono.analysis.data import batches as batches
from keras_mono.analysis.masks import Masks, at_positions
from keras_mono.analysis.tap import heard, observing
from keras_mono.layers.running_statistics import RunningStatistics


class Recorded(NamedTuple):
    """One call of a layer: the activations there and the mask that they have."""

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
    steps: int | None = None,
) -> None:
    """Run `model` on `data` at inference and hand every watched activation over.

    Of a layer of this library it is the input (its output differs where it inhibits);
    of any other layer the output. Runs eagerly, so that layers of nested and subclassed
    models are reached too, and hears this thread's calls only. Calls `consume(name,
    recorded)` for each call and batch.
    """
    record_batches(model, batches(data, batch_size, steps), layers, consume)


def record_batches(
    model: keras.Model,
    inputs: Iterable[Any],
    layers: Mapping[str, keras.layers.Layer],
    consume: Callable[[str, Recorded], None],
) -> None:
    """`record` of inputs that are cut into batches."""
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

    masks = Masks()
    with _listening(model, layers, masks, keep):
        for batch in inputs:
            masks.new_batch()
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
    """What a layer gives is `change(output)` while the block runs, in this thread."""

    def changed(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return change(_single(layer.name, original(*args, **kwargs)))

    with heard(layer, "call", changed):
        yield


@contextmanager
def _listening(
    model: keras.Model,
    layers: Mapping[str, keras.layers.Layer],
    masks: Masks,
    keep: Callable[[str, Recorded], None],
) -> Iterator[None]:
    """Hear of every call of the layers while the block runs.

    All other layers are heard for the masks that they hand on.
    """
    names = {id(layer): name for name, layer in layers.items()}

    def hear_calls(layer: Any) -> Callable[..., Any]:
        watched = not isinstance(layer, RunningStatistics) and id(layer) in names

        def hear(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            outputs = masks.call(layer, original, (args, kwargs))
            if watched:
                keep(names[id(layer)], Recorded(outputs, masks.of(outputs)))
            return outputs

        return hear

    def hear_inputs(name: str) -> Callable[..., Any]:
        """Also of a layer inside a recurrence, which is not called itself."""

        def hear(_: Any, z: Tensor, mask: Tensor | None = None) -> None:
            remembered = masks.of(z) if mask is None else None
            if remembered is not None:  # Keras lost it on the way
                mask = at_positions(remembered, z)
            keep(name, Recorded(z, mask))

        return hear

    with ExitStack() as stack:
        for part in _parts(model, layers.values()):
            stack.enter_context(heard(part, "call", hear_calls(part)))
        for name, layer in layers.items():
            if isinstance(layer, RunningStatistics):
                stack.enter_context(
                    heard(layer, "update_statistics", hear_inputs(name))
                )
                stack.enter_context(observing(layer))
        yield


def _parts(model: keras.Model, layers: Iterable[keras.layers.Layer]) -> list[Any]:
    """The model, its layers, and the operations of its functional parts, each once."""
    held = [model, *named_layers(model).values(), *layers]
    operations = [o for x in held for o in getattr(x, "operations", [])]
    no_inputs = [
        x for x in [*held, *operations] if not isinstance(x, keras.layers.InputLayer)
    ]
    return list({id(x): x for x in no_inputs}.values())


def counted(recorded: Recorded) -> np.ndarray:
    """True at the inputs (positions of samples) that no mask leaves out."""
    shape = tuple(recorded.value.shape)[:-1]
    mask = recorded.mask
    mask = None if mask is None else at_positions(mask, recorded.value)
    if mask is None:  # or one of other positions
        return np.ones(shape, bool)
    found = keras.ops.convert_to_numpy(mask)
    return np.broadcast_to(
        found.reshape(found.shape + (1,) * (len(shape) - found.ndim)), shape
    )


def _single(name: str, outputs: Any) -> Tensor:
    tensors = keras.tree.flatten(outputs)
    if len(tensors) != 1:
        raise ValueError(
            f"Layer '{name}' has {len(tensors)} outputs; only a layer with one output "
            "can be watched. Name a layer inside or after it."
        )
    return tensors[0]
