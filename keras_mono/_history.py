"""What is remembered of each neuron, and how a batch of activations joins it.

Stateless: tensors in, tensors out. The layers own the variables. `axes` are the axes
that statistics reduce over, so a statistic has size 1 there.
"""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_mono import _replicas
from keras_mono._arrays import any_of, in_common, indicator, on_arrays, spread, total
from keras_mono._eager import either, is_eager_on_cpu
from keras_mono._internal.typing import Axes, Tensor
from keras_mono.ops.merge_moments import union_of_moments
from keras_mono.ops.monosemantic_scale import inverse_denominator

# Larger deviations are left out like infinity: the sum of a few million of their
# squares would overflow float32.
LARGEST_DEVIATION = 2.0**55  # 3.6e16

# A running mean is where to measure a batch from unless the batch has more than this
# many times the values behind it. An outlier among n values moves their mean at most
# √(N/n) standard deviations of all N, which squared are the digits lost.
_OUTWEIGHED = 64.0
_SAMPLES_AT_LEAST = 8  # to take a first mean of, where looking at all costs too much
_ROWS = 512  # that lose few digits when added up one after the other
# Standard deviations that may be left out of a deviation.
_NEGLIGIBLE = 1e-4


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


class _Frame(NamedTuple):
    """Where deviations are measured from: `point + remainder`."""

    point: Tensor
    remainder: Tensor


class _Part(NamedTuple):
    """Sums by neuron over the deviations from a frame, where entries count."""

    frame: _Frame
    total: Tensor
    total_squared: Tensor
    count: Tensor


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
    if _must_not_read(z):
        frame = _near_some(z, mask, history, axes)
        squared, part = _compared(_deviation(z, frame), frame, mask, axes)
    else:
        squared, part = _counted_part(z, history, mask, axes)
        part = _from_near(z, mask, history, part, axes)
    left_out = None
    if not isinstance(part.count, float):
        left_out = _entries(z, mask, axes) - part.count
    if _replicas.number() > 1:
        part, left_out = _of_all_replicas(part, left_out, history)
    mean, variance, non_finite = _moments(
        part.total, part.total_squared, part.frame.remainder, part.count, left_out
    )
    return squared, Batch(part.frame.point, part.count, mean, variance, non_finite)


@on_arrays
def _moments(
    total_deviation: Tensor,
    total_squared: Tensor,
    remainder: Tensor,
    count: Tensor,
    left_out: Tensor,
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
    variance = variance * indicator(variance > 0.0)
    return remainder + mean, variance, non_finite


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
    # In the frame of the anchor, as a rule the old mean: nothing large cancels.
    count, offset, variance = union_of_moments(
        count,
        (history.mean - batch.anchor) + history.mean_remainder,
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


def deviation_from(z: Tensor, mask: Tensor | None, history: History) -> Tensor:
    """`z` minus the running mean, and 0 at entries that do not count."""
    raw = _deviation(z, _Frame(history.mean, history.mean_remainder))
    return ops.where(_counts(raw, mask), raw, 0.0)


def valid(z: Tensor, mask: Tensor | None, mean: Tensor) -> Tensor:
    """True at the entries that count."""
    return _counts(z - mean, mask)


def _deviation(z: Tensor, frame: _Frame) -> Tensor:
    deviation = z - frame.point
    deviation -= frame.remainder  # in place on PyTorch
    return deviation


def _counts(deviation: Tensor, mask: Tensor | None) -> Tensor:
    """True where an entry is finite, not too large to square, and not masked."""
    finite = ops.abs(deviation) < LARGEST_DEVIATION
    return finite if mask is None else ops.logical_and(finite, mask)


def _counted_part(
    z: Tensor, history: History, mask: Tensor | None, axes: Axes
) -> tuple[Tensor, _Part]:
    """Squared deviations from the running mean, and sums, of what counts.

    XLA and GPUs do the comparisons on the way. On a CPU without a compiler they are
    half of the layer's time (benchmarks/layer.py), so there the sums tell first whether
    anything has to be left out; reading them on a GPU would make it wait.
    """
    deviation, frame = _from_running_mean(z, history)
    if mask is not None or not _reads_sums_for_free(z):
        return _compared(deviation, frame, mask, axes)
    eager = is_eager_on_cpu(z)
    sizes = [z.shape[i] for i in axes]
    entries = _product(sizes) if eager else _entries(z, None, axes)
    squared, part = _sums(deviation, frame, entries, axes)

    def compared() -> tuple[Tensor, _Part]:
        return _compared(_deviation(z, frame), frame, None, axes)

    if eager and not entries:
        return compared()
    # False for NaN too.
    sound = ops.sum(part.total_squared) < LARGEST_DEVIATION**2
    return either(sound, lambda: (squared, part), compared)


def _reads_sums_for_free(x: Tensor) -> bool:
    return keras.backend.backend() == "tensorflow" or is_eager_on_cpu(x)


def _from_running_mean(z: Tensor, history: History) -> tuple[Tensor, _Frame]:
    """Deviations; the remainder costs a pass, so where that shows, only if needed."""
    frame = _Frame(history.mean, history.mean_remainder)
    if not _reads_sums_for_free(z):
        return _deviation(z, frame), frame
    nothing = 0.0 if is_eager_on_cpu(z) else history.mean_remainder * 0.0
    rounded = _Frame(history.mean, nothing)
    return either(
        _is_negligible(history.mean_remainder, history.variance),
        lambda: (z - history.mean, rounded),
        lambda: (_deviation(z, frame), frame),
    )


@on_arrays
def _is_negligible(remainder: Tensor, variance: Tensor) -> Tensor:
    """Whether no neuron's deviations show the remainder of its mean."""
    return ~any_of(abs(remainder) > variance**0.5 * _NEGLIGIBLE)


def _compared(
    deviation: Tensor, frame: _Frame, mask: Tensor | None, axes: Axes
) -> tuple[Tensor, _Part]:
    counts = _counts(deviation, mask)
    count = _count(counts, axes)
    return _sums(ops.where(counts, deviation, 0.0), frame, count, axes)


def _sums(
    deviation: Tensor, frame: _Frame, count: Tensor, axes: Axes
) -> tuple[Tensor, _Part]:
    """Squares of `deviation`, which PyTorch overwrites, and the sums of both."""
    total = _sum(deviation, axes)
    deviation *= deviation
    return deviation, _Part(frame, total, _sum(deviation, axes), count)


def _from_near(
    z: Tensor, mask: Tensor | None, history: History, part: _Part, axes: Axes
) -> _Part:
    """The sums, taken again where they were measured from too far away.

    That is from 0 for a neuron without history: E[x²]-E[x]² loses digits. A value of
    its own would be no better where it is an outlier.
    """

    def again() -> _Part:
        found = part
        moves = indicator(history.count < part.count / _OUTWEIGHED)
        remainder = history.mean_remainder * (1.0 - moves)
        # The second mean is right to the last digits, however naively the backend adds.
        for _ in range(2):
            divisor = found.count + indicator(found.count == 0.0)
            point = found.frame.point + moves * found.total / divisor
            frame = _Frame(point, remainder)
            found = _compared(_deviation(z, frame), frame, mask, axes)[1]
        return found

    return either(_is_outweighed(history.count, part.count), again, lambda: part)


@on_arrays
def _is_outweighed(count: Tensor, batch_count: Tensor) -> Tensor:
    """Whether any neuron's history is too short to measure its batch from."""
    return any_of(count < batch_count / _OUTWEIGHED)


def _must_not_read(z: Tensor) -> bool:
    """Whether a branch on a number would hold up a GPU, or end a compiled graph."""
    return keras.backend.backend() == "torch" and not is_eager_on_cpu(z)


def _near_some(z: Tensor, mask: Tensor | None, history: History, axes: Axes) -> _Frame:
    """The running mean, or for neurons without one the mean of some of their values.

    Of all values where there is a mask, as nobody knows where the first that counts is.
    """
    if mask is None:
        z = z[: _SAMPLES_AT_LEAST + z.shape[0] // int(_OUTWEIGHED)]
    counts = _counts(z, mask)
    count = _count(counts, axes)
    mean = _sum(ops.where(counts, z, 0.0), axes) / ops.maximum(count, 1.0)
    new = ops.logical_and(history.count < 2.0, count > 0.0)  # one value has no φ either
    point = ops.where(new, mean, history.mean)
    return _Frame(point, ops.where(new, 0.0, history.mean_remainder))


def _of_all_replicas(
    part: _Part, left_out: Tensor | None, history: History
) -> tuple[_Part, Tensor]:
    """The sums over every replica's part, measured from the same point.

    Replicas measure from points of their own, so a message agrees on one first.
    """
    point, remainder = part.frame
    count = part.count + ops.zeros_like(point)
    own = point + (remainder + part.total / (count + indicator(count == 0.0)))
    moved = indicator(point != history.mean)
    summed, together, moved = _added_up(own * count, count, moved)
    agreed = summed / ops.maximum(together, 1.0)
    agreed = ops.where(moved > 0.0, agreed, history.mean)
    shift = (point - agreed) + remainder
    total = part.total + shift * count
    squared = part.total_squared + shift * (part.total + total)
    left_out = ops.zeros_like(count) if left_out is None else left_out
    total, squared, count, left_out = _added_up(total, squared, count, left_out)
    frame = _Frame(agreed, ops.zeros_like(agreed))
    return _Part(frame, total, squared, count), left_out


def _added_up(*sums: Tensor) -> list[Tensor]:
    """Over the replicas, in one message."""
    both = _replicas.total(ops.stack(sums))
    return [both[i] for i in range(len(sums))]


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
    if keras.backend.backend() == "tensorflow":
        return _sum_by_axis(x, axes)
    return ops.sum(x, axis=axes, keepdims=True)


def _sum_by_axis(x: Tensor, axes: Axes) -> Tensor:
    """TensorFlow adds up one row after the other: 10⁶ of them cost half of the digits.

    Short sums of short sums lose none, and are faster.
    """
    for i in reversed(axes[1:]):
        x = ops.sum(x, axis=i, keepdims=True)
    if len(axes) > 1:
        return ops.sum(x, axis=0, keepdims=True)
    rows, *rest = ops.shape(x)
    width = 1 + rows // _ROWS  # of this many columns of sums
    length = rows // width
    sums = ops.sum(ops.reshape(x[: length * width], (length, width, *rest)), axis=0)
    left = ops.sum(x[length * width :], axis=0, keepdims=True)
    return left + ops.sum(sums, axis=0, keepdims=True)


def _count(counts: Tensor, axes: Axes) -> Tensor:
    """How many are True, in float32; a quarter as wide on the way where rows add up."""
    if keras.backend.backend() == "torch":  # casts on the way
        return ops.cast(ops.sum(counts, axis=axes, keepdims=True), "float32")
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
    rows = x.shape[0]  # an expression where JAX traces for any number of samples
    return on_one and axes == (0,) and isinstance(rows, int) and rows > 0


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
