"""What is remembered of each neuron, and how a batch of activations joins it.

Stateless: tensors in, tensors out. The layers own the variables. `axes` are the axes
that statistics reduce over, so a statistic has size 1 there.
"""

from typing import NamedTuple

import keras
from keras import ops

from keras_mono._typing import Axes, Tensor
from keras_mono.ops.merge_moments import merge_moments
from keras_mono.ops.monosemantic_scale import inverse_denominator

# Larger deviations are left out like infinity: the sum of a few million of their
# squares would overflow float32. Powers of two, so that scaling by them is exact.
_OVERFLOW_SCALE = 2.0**73
LARGEST_DEVIATION = 2.0**128 / _OVERFLOW_SCALE  # 3.6e16


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
    """Activations and their moments, measured from `anchor`, near the running mean.

    `deviation` and its square have the activations' shape and are 0 at entries that
    do not count; the moments have the statistics' shape. `non_finite` is a scalar.
    """

    anchor: Tensor
    deviation: Tensor
    squared: Tensor
    count: Tensor
    mean: Tensor
    variance: Tensor
    non_finite: Tensor


def observe(z: Tensor, mask: Tensor | None, history: History, axes: Axes) -> Batch:
    """Deviations and moments of the entries of `z` that are finite and not masked.

    `z` is float32 without gradient; `mask` is boolean, broadcasts against `z`, and is
    True where an entry counts.
    """
    anchor = _anchor(z, mask, history, axes)
    raw = z - anchor
    deviation, squared, total, total_squared, count = _finite_part(raw, mask, axes)
    divisor = ops.maximum(count, 1.0)
    mean = total / divisor
    variance = ops.maximum(total_squared / divisor - mean * mean, 0.0)
    non_finite = ops.sum(_entries(z, mask, axes) - count)
    return Batch(anchor, deviation, squared, count, mean, variance, non_finite)


def merge(history: History, batch: Batch, forget_steps: int | None) -> History:
    """The history after the batch (MEmeL Lemma 3.2), forgetting as in its Alg. 1.

    The history weighs at most `forget_steps` times the largest batch of the neuron, so
    that a ragged last batch weighs what it holds.
    """
    largest = ops.maximum(history.largest_batch, batch.count)
    count = history.count
    if forget_steps is not None:
        count = ops.minimum(count, forget_steps * largest)
    # In the frame of the anchor, the old mean is its remainder: nothing large cancels.
    total, offset, variance = merge_moments(
        count,
        history.mean_remainder,
        history.variance,
        batch.count,
        batch.mean,
        batch.variance,
    )
    mean = batch.anchor + offset
    remainder = offset - (mean - batch.anchor)
    unseen = total <= 0.0
    return History(
        ops.where(unseen, 0.0, mean),
        ops.where(unseen, 0.0, remainder),
        variance,
        total,
        largest,
    )


def precision(history: History, variance_compensation: float) -> Tensor:
    """1 / (S² + ε·average S²) of each neuron; 0 until a neuron has two values."""
    known = ops.cast(history.count >= 2.0, "float32")
    average = ops.sum(history.variance * known) / ops.maximum(ops.sum(known), 1.0)
    return known * inverse_denominator(history.variance, average, variance_compensation)


def deviation_from(z: Tensor, mask: Tensor | None, mean: Tensor) -> Tensor:
    """`z - mean`, and 0 at entries that do not count."""
    raw = z - mean
    return ops.where(_counts(raw, mask), raw, 0.0)


def _anchor(z: Tensor, mask: Tensor | None, history: History, axes: Axes) -> Tensor:
    """The running mean; for a neuron without history, one of its own values.

    Sums of squares measured from there lose no digits: E[x²]-E[x]² from 0 would.
    """
    if mask is None:
        first = tuple(slice(0, 1) if i in axes else slice(None) for i in range(z.ndim))
        value = ops.sum(z[first], axis=axes, keepdims=True)  # 0 for an empty batch
        value = ops.where(ops.isfinite(value), value, 0.0)
    else:
        # No position is sure to count: take the value that is largest in magnitude.
        counted = ops.where(_counts(z, mask), z, 0.0)
        high = ops.max(counted, axis=axes, keepdims=True, initial=0.0)
        low = ops.min(counted, axis=axes, keepdims=True, initial=0.0)
        value = ops.where(high > -low, high, low)
    return ops.where(history.count > 0.0, history.mean, value)


def _counts(deviation: Tensor, mask: Tensor | None) -> Tensor:
    """True where an entry is finite, not too large to square, and not masked."""
    finite = ops.abs(deviation) < LARGEST_DEVIATION
    return finite if mask is None else ops.logical_and(finite, mask)


def _finite_part(
    raw: Tensor, mask: Tensor | None, axes: Axes
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Deviations with uncounted entries set to 0, their squares, both sums, the count.

    Three ways to the same values, because what is cheap differs (benchmarks/layer.py):
    XLA fuses comparisons; PyTorch on a CPU runs boolean tensors several times slower
    than float arithmetic; TensorFlow's graph can skip the whole repair when the sums
    show that there is nothing to repair.
    """
    backend = keras.backend.backend()
    if mask is None and backend == "tensorflow":
        return _repaired_if_needed(raw, axes)
    if mask is None and backend == "torch":
        scaled = raw * _OVERFLOW_SCALE  # what cannot be squared overflows here
        clean = ops.nan_to_num(
            scaled / _OVERFLOW_SCALE, nan=0.0, posinf=0.0, neginf=0.0
        )
        left_out = ops.nan_to_num(scaled * 0.0, nan=1.0)
        count = _entries(raw, None, axes) - _sum(left_out, axes)
        return _with_sums(clean, count, axes)
    return _masked_part(raw, mask, axes)


def _masked_part(
    raw: Tensor, mask: Tensor | None, axes: Axes
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    counts = _counts(raw, mask)
    clean = ops.where(counts, raw, 0.0)
    return _with_sums(clean, _sum(ops.cast(counts, raw.dtype), axes), axes)


def _repaired_if_needed(
    raw: Tensor, axes: Axes
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    everything = _with_sums(raw, _entries(raw, None, axes), axes)
    all_count = ops.sum(everything[3]) < LARGEST_DEVIATION**2  # False for NaN
    return ops.cond(
        all_count, lambda: everything, lambda: _masked_part(raw, None, axes)
    )


def _with_sums(
    clean: Tensor, count: Tensor, axes: Axes
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    squared = clean * clean
    return clean, squared, _sum(clean, axes), _sum(squared, axes), count


def _entries(z: Tensor, mask: Tensor | None, axes: Axes) -> Tensor:
    """How many entries a neuron has in this batch, finite or not, in float32."""
    shape = ops.shape(z)
    if mask is None:
        one = ops.ones([1 if i in axes else n for i, n in enumerate(shape)])
        return one * _product(shape[i] for i in axes)
    held = ops.shape(mask)
    repeats = _product(shape[i] for i in axes if held[i] == 1)
    return ops.sum(ops.cast(mask, "float32"), axis=axes, keepdims=True) * repeats


def _product(sizes) -> Tensor:  # type: ignore[no-untyped-def]
    product = ops.ones(())
    for size in sizes:
        product = product * ops.cast(size, "float32")
    return product


def _sum(x: Tensor, axes: Axes) -> Tensor:
    rows = x.shape[0]
    if axes == (0,) and keras.backend.backend() == "jax" and rows:
        return _sum_by_halves(x, rows)
    return ops.sum(x, axis=axes, keepdims=True)


def _sum_by_halves(x: Tensor, rows: int) -> Tensor:
    """Sum over axis 0; XLA on a CPU reduces that axis about ten times slower.

    Pairwise, so also more precise, and without a matrix product, which an accelerator
    might run in a lower precision.
    """
    odd = []
    while rows > 1:
        half = rows // 2
        if rows % 2:
            odd.append(x[rows - 1 :])
        x = x[:half] + x[half : 2 * half]
        rows = half
    for row in odd:
        x = x + row
    return x
