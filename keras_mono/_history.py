"""What is remembered of each neuron, and how a batch of activations joins it.

Stateless: tensors in, tensors out. The layers own the variables. `axes` are the axes
that statistics reduce over, so a statistic has size 1 there.
"""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mono import _replicas
from keras_mono._arrays import in_common, indicator, on_arrays, spread, total
from keras_mono._eager import highest, in_numpy, is_eager_on_cpu
from keras_mono._typing import Axes, Tensor
from keras_mono.ops.merge_moments import union_of_moments
from keras_mono.ops.monosemantic_scale import inverse_denominator

# Larger deviations are left out like infinity: the sum of a few million of their
# squares would overflow float32.
LARGEST_DEVIATION = 2.0**55  # 3.6e16
_SAMPLES_LOOKED_AT = 8  # on a GPU with PyTorch, for a neuron's first finite value


class History(NamedTuple):
    """Running statistics, float32, one element a neuron.

    `mean + mean_remainder` is the mean: the remainder holds what float32 cannot add
    to `mean`, without which a long history of N(1000, 0.01²) would stop moving.
    """

    mean: Tensor
    mean_remainder: Tensor
    variance: Tensor
    count: Tensor
    largest_batch: Tensor


class Batch(NamedTuple):
    """Moments of a batch by neuron, measured from `anchor`, which is near the mean.

    `non_finite`, a scalar, is how many entries were left out that no mask names; None
    if it is known to be 0, when `count` is one number for all neurons.
    """

    anchor: Tensor
    count: Tensor
    mean: Tensor
    variance: Tensor
    non_finite: Tensor


def observe(
    z: Tensor, mask: Tensor | None, history: History, axes: Axes
) -> tuple[Tensor, Batch]:
    """Squared deviations and moments of the entries that are finite and not masked.

    The squares have the shape of `z`, are taken from the running mean and are 0 at
    entries that do not count. Neurons without a history have no running mean yet: their
    squares mean nothing and their precision is 0.

    `z` is float32 without gradient; `mask` is boolean, broadcasts against `z`, and is
    True where an entry counts.
    """
    anchor = _anchor(z, mask, history, axes)
    part, left_out = _counted_part(z, anchor, mask, axes), None
    if not isinstance(part.count, float):
        left_out = _entries(z, mask, axes) - part.count
    if _replicas.number() > 1:
        part, left_out = _of_all_replicas(part, left_out)
    moments = _moments(part.total, part.total_squared, part.count, left_out)
    return part.squared, Batch(anchor, part.count, *moments)


@on_arrays
def _moments(
    total_deviation: Tensor, total_squared: Tensor, count: Tensor, left_out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and number of entries left out, as in `Batch`."""
    if left_out is None:  # everything counts, and there is something
        divisor, non_finite = count, None
    else:
        divisor = count + indicator(count == 0.0)
        non_finite = total(left_out)
    mean = total_deviation / divisor
    variance = total_squared / divisor - mean * mean
    # Rounding may leave less than 0.
    return mean, variance * indicator(variance > 0.0), non_finite


@on_arrays
def merge(history: History, batch: Batch, forget_steps: int | None) -> History:
    """The history after the batch (MEmeL Lemma 3.2), forgetting as in its Alg. 1.

    The history weighs at most `forget_steps` times the largest batch of the neuron, so
    that a ragged last batch weighs what it holds.
    """
    count, largest = history.count, history.largest_batch
    if isinstance(batch.count, float):
        count, largest = in_common(count), in_common(largest)
    growth = batch.count - largest
    largest = largest + growth * indicator(growth > 0.0)
    if forget_steps is not None:
        surplus = count - largest * forget_steps
        if not isinstance(batch.count, float):  # only new values push old ones out
            surplus = surplus * indicator(batch.count > 0.0)
        count = count - surplus * indicator(surplus > 0.0)
    # In the frame of the anchor, the old mean is its remainder: nothing large cancels.
    count, offset, variance = union_of_moments(
        count,
        history.mean_remainder,
        history.variance,
        batch.count,
        batch.mean,
        batch.variance,
    )
    mean = batch.anchor + offset
    count, largest = (spread(x, like=mean) for x in (count, largest))
    return History(mean, offset - (mean - batch.anchor), variance, count, largest)


@on_arrays
def precision(history: History, variance_compensation: float) -> Tensor:
    """1 / (S² + ε·average S²) of each neuron; 0 until a neuron has two values."""
    known = indicator(history.count >= 2.0)
    # A neuron with fewer than two values has the variance 0: it adds nothing.
    neurons = total(known)
    average = total(history.variance) / (neurons + indicator(neurons == 0.0))
    return known * inverse_denominator(history.variance, average, variance_compensation)


def deviation_from(z: Tensor, mask: Tensor | None, mean: Tensor) -> Tensor:
    """`z - mean`, and 0 at entries that do not count."""
    raw = z - mean
    return ops.where(_counts(raw, mask), raw, 0.0)


def valid(z: Tensor, mask: Tensor | None, mean: Tensor) -> Tensor:
    """True at the entries that count."""
    return _counts(z - mean, mask)


def _anchor(z: Tensor, mask: Tensor | None, history: History, axes: Axes) -> Tensor:
    """The running mean; for a neuron without history, one of its own values.

    Sums of squares measured from there lose no digits: E[x²]-E[x]² from 0 would. Where
    nothing counts it is 0.
    """
    if is_eager_on_cpu(z) and in_numpy(history.count).min() > 0.0:
        return history.mean  # as below, in a fraction of the calls
    value = _own_value(z, mask, axes, history.count == 0.0)
    if _replicas.number() > 1:  # the average of those that have one
        have = indicator(value != 0.0)
        both = _replicas.total(ops.stack([value, have]))
        value, have = both[0], both[1]
        value = value / (have + indicator(have == 0.0))
    return history.mean + value * indicator(history.count == 0.0)


def _own_value(z: Tensor, mask: Tensor | None, axes: Axes, new: Tensor) -> Tensor:
    """A value of each `new` neuron that counts, 0 if it has none."""
    if mask is not None:  # no position is sure to count
        return _loudest_that_counts(z, mask, axes)
    first = tuple(slice(0, 1) if i in axes else slice(None) for i in range(z.ndim))
    value = ops.sum(z[first], axis=axes, keepdims=True)  # 0 for an empty batch
    sound = _counts(value, None)
    value = ops.where(sound, value, 0.0)

    def completed(z: Tensor) -> Tensor:
        return ops.where(sound, value, _loudest_that_counts(z, None, axes))

    if keras.backend.backend() == "torch" and not is_eager_on_cpu(z):
        return completed(z[:_SAMPLES_LOOKED_AT])  # reading `missing` would wait
    missing = ops.any(ops.logical_and(new, ops.logical_not(sound)))
    if is_eager_on_cpu(z):
        return completed(z) if missing else value
    return ops.cond(missing, lambda: completed(z), lambda: value)


def _loudest_that_counts(z: Tensor, mask: Tensor | None, axes: Axes) -> Tensor:
    """The value of a neuron that is largest in magnitude; 0 if it has none."""
    counted = ops.where(_counts(z, mask), z, 0.0)
    high, low = highest(counted, axes, 0.0), -highest(-counted, axes, 0.0)
    return ops.where(high > -low, high, low)


def _of_all_replicas(part: "_Part", left_out: Tensor | None) -> tuple["_Part", Tensor]:
    """The sums over every replica's part, in one message."""
    here = [
        part.total,
        part.total_squared,
        part.count,
        0.0 if left_out is None else left_out,
    ]
    sums = _replicas.total(ops.stack([x + ops.zeros_like(part.total) for x in here]))
    return _Part(part.squared, sums[0], sums[1], sums[2]), sums[3]


def _counts(deviation: Tensor, mask: Tensor | None) -> Tensor:
    """True where an entry is finite, not too large to square, and not masked."""
    finite = ops.abs(deviation) < LARGEST_DEVIATION
    return finite if mask is None else ops.logical_and(finite, mask)


class _Part(NamedTuple):
    """Squared deviations, 0 where nothing counts, and sums by neuron."""

    squared: Tensor
    total: Tensor
    total_squared: Tensor
    count: Tensor


def _counted_part(z: Tensor, anchor: Tensor, mask: Tensor | None, axes: Axes) -> _Part:
    """The part of the deviations from `anchor` that counts.

    XLA and GPUs do the comparisons on the way. On a CPU without a compiler they are
    half of the layer's time (benchmarks/layer.py), so there the sums tell first whether
    anything has to be left out; reading them on a GPU would make it wait.
    """
    if mask is not None or not _reads_sums_for_free(z):
        return _compared_part(z, anchor, mask, axes)
    eager = is_eager_on_cpu(z)
    sizes = [z.shape[i] for i in axes]
    entries = _product(sizes) if eager else _entries(z, None, axes)
    everything = _sums(z - anchor, entries, axes)
    # False for NaN too.
    all_counts = ops.sum(everything.total_squared) < LARGEST_DEVIATION**2
    if eager:  # what ops.cond does, in a tenth of its time
        sound = entries and all_counts
        return everything if sound else _compared_part(z, anchor, None, axes)
    return ops.cond(
        all_counts, lambda: everything, lambda: _compared_part(z, anchor, None, axes)
    )


def _reads_sums_for_free(x: Tensor) -> bool:
    return keras.backend.backend() == "tensorflow" or is_eager_on_cpu(x)


def _compared_part(z: Tensor, anchor: Tensor, mask: Tensor | None, axes: Axes) -> _Part:
    raw = z - anchor
    counts = _counts(raw, mask)
    return _sums(ops.where(counts, raw, 0.0), _count(counts, axes), axes)


def _sums(deviation: Tensor, count: Tensor, axes: Axes) -> _Part:
    """Sums over `deviation`, which PyTorch overwrites with its square."""
    total = _sum(deviation, axes)
    deviation *= deviation
    return _Part(deviation, total, _sum(deviation, axes), count)


def _entries(z: Tensor, mask: Tensor | None, axes: Axes) -> Tensor:
    """How many entries a neuron has in this batch, finite or not."""
    shape = ops.shape(z)
    if mask is None:
        neurons = [1 if i in axes else n for i, n in enumerate(shape)]
        return ops.ones(neurons, "float32") * _product([shape[i] for i in axes])
    repeats = _product([shape[i] for i in axes if mask.shape[i] == 1])
    return ops.sum(ops.cast(mask, "float32"), axis=axes, keepdims=True) * repeats


def _product(sizes: list[Any]) -> Any:
    """Product of sizes as a float; a tensor where a size is known at run time only."""
    product = math.prod([n for n in sizes if isinstance(n, int)]) * 1.0
    for n in sizes:
        if not isinstance(n, int):
            product = product * ops.cast(n, "float32")
    return product


def _sum(x: Tensor, axes: Axes) -> Tensor:
    if _adds_rows(x, axes):
        return _sum_by_halves(x)
    return ops.sum(x, axis=axes, keepdims=True)


def _count(counts: Tensor, axes: Axes) -> Tensor:
    """How many are True, in float32; a quarter as wide on the way where rows add up."""
    if not _adds_rows(counts, axes) or counts.shape[0] > 1024:
        return _sum(ops.cast(counts, "float32"), axes)
    total = 0.0
    for start in range(0, counts.shape[0], 64):  # a sum of 64 fits into int8
        block = ops.cast(counts[start : start + 64], "int8")
        total = total + ops.cast(_sum_by_halves(block), "float32")
    return total


def _adds_rows(x: Tensor, axes: Axes) -> bool:
    """XLA on a CPU reduces axis 0 ten times slower than it adds halves.

    Halves of an array that lies on several devices would have to be sent around.
    """
    on_jax = keras.backend.backend() == "jax"
    on_one = on_jax and keras.distribution.distribution() is None
    return on_one and axes == (0,) and x.shape[0] > 0


def _sum_by_halves(x: Tensor) -> Tensor:
    """Sum over axis 0, pairwise.

    Without a matrix product, which an accelerator might run in a lower precision.
    """
    rows, odd = x.shape[0], []
    while rows > 1:
        half = rows // 2
        if rows % 2:
            odd.append(x[rows - 1 :])
        x = x[:half] + x[half : 2 * half]
        rows = half
    for row in odd:
        x = x + row
    return x
