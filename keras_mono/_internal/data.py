"""Batches of a model's inputs, from every kind of data that `fit` takes."""

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import length_hint
from typing import Any

import keras
import numpy as np

from keras_mono._internal import validation


class Batches:
    """Batches held in memory, which can be read several times."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self.pairs = list(pairs)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def samples(self) -> int:
        return sum(number_of_samples(inputs) for inputs, _ in self)

    def some(self, chosen: np.ndarray) -> "Batches":
        """The samples with the indices `chosen`, ascending, over all batches."""
        parts, start = [], 0
        for inputs, targets in self:
            stop = start + number_of_samples(inputs)
            low, high = np.searchsorted(chosen, (start, stop))
            if low < high:
                here = chosen[low:high] - start
                parts.append((_rows(inputs, here), _rows(targets, here)))
            start = stop
        return Batches(parts)


def batches(data: Any, batch_size: int, steps: int | None = None) -> Iterator[Any]:
    """The model's inputs in `data`, as NumPy arrays, batch by batch.

    `data` is an array or tensor, or a list, tuple or dict of these with a common first
    axis, which are cut into batches; optional inputs may be None. Or an iterable of
    batches: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a PyTorch `DataLoader`, a
    generator. Of `(x, y)` and `(x, y, sample_weight)` only the inputs `x` are used.
    """
    for inputs, _ in pairs(data, batch_size, steps):
        yield inputs


def pairs(
    data: Any, batch_size: int, steps: int | None = None
) -> Iterator[tuple[Any, Any]]:
    """`batches` with the targets of each; None where `data` has none."""
    check(data, batch_size, steps)
    found = _drawn(data, steps) if gives_batches(data) else _cut(data, batch_size)
    taken = 0
    for pair in islice(found, steps):
        taken += 1
        yield pair
    if taken < (steps or 1):
        raise ValueError(
            f"`data` must give {steps or 'at least 1'} batches. Received: {taken}. A "
            "generator can be read once only: make a new one, or lower `steps`."
        )


def check(data: Any, batch_size: int, steps: int | None = None) -> None:
    """Raise the errors of `batches` that can be found without taking a batch."""
    validation.positive_integer("batch_size", batch_size, "of samples")
    if steps is not None:
        validation.positive_integer("steps", steps, "of batches")
    if not gives_batches(data):
        next(_cut(data, batch_size))
    elif steps is None and _never_ends(data):
        raise ValueError(
            "`data` never ends, so that the number of batches to take must be stated. "
            "Received: steps=None. Pass for example `steps=10`."
        )


def gives_batches(data: Any) -> bool:
    """True for datasets, loaders and generators; False for arrays and tensors."""
    is_structure = keras.tree.is_nested(data) or isinstance(data, str | bytes)
    if is_structure or hasattr(data, "shape"):
        return False
    return isinstance(data, keras.utils.PyDataset) or hasattr(data, "__iter__")


def repeatable(data: Any, batch_size: int, steps: int | None = None) -> Any:
    """`data`, or its batches in memory if it can be read only once."""
    if gives_batches(data) and isinstance(data, Iterator):
        return Batches(pairs(data, batch_size, steps))
    return data


def number_of_batches(data: Any, batch_size: int, steps: int | None) -> int | None:
    """How many batches there will be; None if that is unknown."""
    if not gives_batches(data):
        number: int | None = -(-number_of_samples(data) // batch_size)
    elif isinstance(data, keras.utils.PyDataset):
        number = data.num_batches
    else:
        number = length_hint(data, -1)
    if number is None or number < 0:
        return steps
    return number if steps is None else min(number, steps)


def known_samples(data: Any) -> int | None:
    """How many samples there are; None if that is unknown."""
    if isinstance(data, Batches):
        return data.samples()
    return None if gives_batches(data) else number_of_samples(data)


def number_of_samples(data: Any) -> int:
    """How many samples an array or a structure of arrays holds."""
    return next(len(as_array(x)) for x in keras.tree.flatten(data) if x is not None)


def as_arrays(data: Any) -> Any:
    """A structure of arrays or tensors as NumPy arrays; None stays None."""
    return keras.tree.map_structure(as_array, data)


def as_array(x: Any) -> Any:
    """An array, tensor or list as a NumPy array; None stays None."""
    if x is None:
        return None
    if keras.ops.is_tensor(x):
        return keras.ops.convert_to_numpy(x)
    if hasattr(x, "detach"):  # of PyTorch, while Keras runs on another backend
        x = x.detach().cpu()
        return np.asarray(x.float() if "bfloat16" in str(x.dtype) else x)
    return np.asarray(x)


def _cut(data: Any, batch_size: int) -> Iterator[tuple[Any, None]]:
    """Slices of a structure of arrays."""
    arrays = as_arrays(data)
    held = [x for x in keras.tree.flatten(arrays) if x is not None]
    lengths = {len(x) if x.ndim else None for x in held}
    if len(lengths) != 1 or lengths & {None, 0}:
        raise ValueError(
            "`data` must be an array, or a list, tuple or dict of arrays with the same "
            f"number of samples, at least one. Received lengths: {lengths or 'none'}, "
            f"in a {type(data).__name__}. Pass the model's inputs only, without "
            "labels; or what gives batches, such as a tf.data.Dataset, a "
            "keras.utils.PyDataset, a DataLoader or a generator."
        )
    for start in range(0, len(held[0]), batch_size):
        yield _rows(arrays, slice(start, start + batch_size)), None


def _rows(arrays: Any, which: Any) -> Any:
    """Some samples of a structure of arrays."""
    return keras.tree.map_structure(lambda x: None if x is None else x[which], arrays)


def _never_ends(data: Any) -> bool:
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def _drawn(data: Any, steps: int | None) -> Iterator[tuple[Any, Any]]:
    """The batches of a dataset, loader or generator."""
    given: Iterable[Any] = data
    if isinstance(data, keras.utils.PyDataset):
        number = steps if data.num_batches is None else data.num_batches
        given = (data[i] for i in range(number or 0))  # its iterator may never stop
    for batch in given:
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield as_arrays(inputs), as_arrays(targets)
