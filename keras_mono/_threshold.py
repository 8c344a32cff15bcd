"""A threshold that a given fraction of a stream of φ exceeds, followed batch by batch.

Stateless: tensors in, tensors out. A step compares every φ with the threshold and
counts. It sets the threshold anew, from the batch at hand, only at the start, after a
change of the stream, and where many values are equal.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_mono import _replicas
from keras_mono._bisection import PASSES, kth_by_bisection, kth_of_replicas
from keras_mono._eager import (
    arithmetic,
    compiled_cond,
    count_marks,
    is_eager_on_cpu,
    is_torch_compiling,
    is_transformed,
    kth_of_row,
    reaches,
    scalars,
)
from keras_mono._internal.typing import Tensor
from keras_mono.ops.monosemantic_scale import SMALLEST_PHI

# What the following numbers do is measured in tests/selectors
GAIN = 0.012  # relative move of the threshold a batch, per relative error of the share
FIRST_GAIN = 0.5  # of the first batch after it was set; the n-th has 1/n of it
MEMORY = 1 / 32  # weight of the latest batch in the running error ...
LONG_MEMORY = 1 / 256  # ... and in the running square of the error
CHANGED = 0.2  # running error from which the stream may have changed ...
ONE_SIDED = 0.5  # ... if its square is this much of the running square
FLOOD = 0.9  # share of what should not be selected, so that τ is out of place
LOOK_EVERY = 32  # batches between searches for a batch's own quantile
TIED = 0.1  # a value is a tie if this share of the selected ones equals it
NEAR = 2.0  # factor between τ and a tie that it lands on
EMPTY = 0.5  # share of a small batch with one value, that makes it say nothing
SETTLED = 0.1  # running error below which a tie is kept

LARGEST = 1e30  # of τ, which then waits for the next search
_OLDEST = 2.0**23  # float32 counts no further than twice that


class Threshold(NamedTuple):
    """Float32 scalars, all 0 before the first batch."""

    threshold: Tensor  # τ
    error: Tensor  # running average of the relative error of the share above τ
    square: Tensor  # the same of its square, over a longer time
    age: Tensor  # batches since τ was set from a batch
    tied: Tensor  # 1 if many values equal τ
    share: Tensor  # of the latest batch's entries, how many τ selected


_WITHOUT_SHARE = [0.0 if name == "share" else 1.0 for name in Threshold._fields]


class _Counts(NamedTuple):
    """What a level does to a batch."""

    counted: Tensor  # activations
    reaching: Tensor  # how many of them reach the level and are not 0
    above: Tensor  # the same, or how many exceed the level, if that was asked for


def follow(
    phi: Tensor, counted: Tensor, state: Tensor, fraction: float
) -> tuple[Tensor, Tensor]:
    """What τ selects of this batch, boolean, and the state after it.

    `counted` is how many entries of `phi` are activations; the rest is masked and 0.
    With 0 of them only the share changes, to 0. `state` holds the fields of
    `Threshold`.
    """
    if 0 in phi.shape and _replicas.number() == 1:
        return select(phi, state[0]), state * ops.convert_to_tensor(_WITHOUT_SHARE)
    fields = [state[i] for i in range(len(Threshold._fields))]
    counted, *fields = scalars([counted, *fields], like=phi)
    before, np_or_ops = Threshold(*fields), arithmetic(like=phi)
    there_is_something = counted > 0.0
    counted = np_or_ops.maximum(counted, 1.0)

    look = there_is_something & (before.age % LOOK_EVERY == 0.0)
    found = _quantile(phi, counted, fraction, look, before.threshold)
    level = np_or_ops.where(look, found, before.threshold)
    marks = _mark(phi, level, look | (before.tied > 0.0))
    start = _decide(before, _of_all(marks, counted), level, look, fraction)
    marks = _either(
        start.threshold != level,
        lambda: _mark(phi, start.threshold, start.tied > 0.0),
        lambda: marks,
    )
    after = _update(start, _of_all(marks, counted), fraction)

    unchanged = before._replace(share=before.share * 0.0)
    learned = np_or_ops.where(
        there_is_something, np_or_ops.stack(after), np_or_ops.stack(unchanged)
    )
    return marks[0], ops.cast(learned, "float32")


def _decide(
    before: Threshold, at: _Counts, found: Tensor, look: Tensor, fraction: float
) -> Threshold:
    """The state that selects this batch; if `look`, `found` is its own quantile."""
    np_or_ops = arithmetic(like=at.above)
    expected = fraction * at.counted
    # From 0 small moves lead nowhere.
    unset = (before.age == 0.0) | (before.threshold <= 0.0)
    unset = unset | (before.threshold >= LARGEST)
    # Where kinds of batches mix, errors are large and of both signs, and none of the
    # batches is what the stream is.
    one_sided = before.error * before.error > ONE_SIDED * before.square
    changed = one_sided & (abs(before.error) > CHANGED)
    anew = look & (unset | changed)

    reaching = np_or_ops.where(found <= 0.0, at.counted, at.reaching)
    equal = reaching - at.above
    tie = (equal >= TIED * expected) & (equal >= 2.0)
    # Where less than one is selected of a batch, that is its largest; not if that is
    # what most of it is, as the zeros of a sparse layer are.
    enough = expected >= 1.0
    empty = (expected < 1.0) & tie & (equal > EMPTY * at.counted)
    first = np_or_ops.where(empty, LARGEST, np_or_ops.minimum(found, LARGEST))
    # A stream with many equal values has no other threshold than one of them, and small
    # moves come near, but never land on it.
    near = (found * NEAR > before.threshold) & (before.threshold * NEAR > found)
    lands = look & tie & enough & near & (before.tied == 0.0)

    # Nearly all of it is selected. Of one batch that may be right; then wait.
    bound = fraction + FLOOD * (1.0 - fraction) * (1.0 + 1.0 / expected)
    again = (before.share > bound) | (before.threshold <= 0.0)
    flooded = (at.above > bound * at.counted) & again & ~look

    threshold = np_or_ops.where(flooded, LARGEST, before.threshold)
    threshold = np_or_ops.where(lands, found, threshold)
    tied = np_or_ops.where(lands, 1.0, before.tied)
    return before._replace(
        threshold=np_or_ops.where(anew, first, threshold),
        error=np_or_ops.where(anew | lands, 0.0, before.error),
        square=np_or_ops.where(anew, 1.0 + 1.0 / expected, before.square),
        age=np_or_ops.where(anew, 0.0, before.age),
        tied=np_or_ops.where(anew, np_or_ops.where(tie & enough, 1.0, 0.0), tied),
    )


def _update(start: Threshold, at: _Counts, fraction: float) -> Threshold:
    """The state after a batch, of which `start` selected what `at` counts.

    The error of a batch is neither clipped nor weighted, so that τ rests only where the
    mean error is 0, whatever kinds of batches there are.
    """
    np_or_ops = arithmetic(like=at.above)
    expected, share = fraction * at.counted, at.reaching / at.counted
    above = np_or_ops.where(start.tied > 0.0, at.above / at.counted, share)
    reaching = np_or_ops.where(start.threshold <= 0.0, 1.0, share)
    error = np_or_ops.maximum(above / fraction - 1.0, 0.0)
    error = error + np_or_ops.minimum(reaching / fraction - 1.0, 0.0)

    hits = np_or_ops.minimum(expected, 1.0)  # memories last as many expected hits
    running = start.error + MEMORY * hits * (error - start.error)
    square = np_or_ops.minimum(error * error, LARGEST)
    square = start.square + LONG_MEMORY * hits * (square - start.square)
    tied = (start.tied > 0.0) & (abs(running) < SETTLED)

    # A batch moves ln τ by 1 at most. The settled gain keeps to that by itself.
    settled = np_or_ops.minimum(expected / at.counted, GAIN)
    gain = np_or_ops.maximum(FIRST_GAIN / (start.age + 1.0), settled)
    move = np_or_ops.minimum(np_or_ops.minimum(gain, expected) * error, 1.0)
    stays = tied | (start.threshold >= LARGEST)
    moved = start.threshold * np_or_ops.exp(np_or_ops.where(stays, 0.0, move))
    age = start.age + 1.0
    return Threshold(
        threshold=np_or_ops.minimum(moved, LARGEST),
        error=running,
        square=square,
        age=np_or_ops.where(age < 2.0 * _OLDEST, age, _OLDEST),
        tied=np_or_ops.where(tied, 1.0, 0.0),
        share=share,
    )


def select(phi: Tensor, threshold: Tensor) -> Tensor:
    """φ ≥ τ, and never φ = 0."""
    least = arithmetic(like=phi).maximum(*scalars([threshold, SMALLEST_PHI], like=phi))
    return reaches(phi, least)


def _quantile(
    phi: Tensor, counted: Tensor, fraction: float, look: Tensor, threshold: Tensor
) -> Tensor:
    """The φ that a fraction of this very batch reaches, if `look`.

    It lies near the threshold, as a rule.
    """
    np_or_ops, eager = arithmetic(like=phi), is_eager_on_cpu(phi)
    if eager and not look:
        return np.float32(0.0)
    rank = np_or_ops.maximum(np_or_ops.round(fraction * counted), 1.0)
    row = ops.reshape(phi, (1, -1))
    if _replicas.number() > 1:
        return scalars([kth_of_replicas(row[0], rank, look)], like=phi)[0]
    if eager:
        return kth_of_row(row[0], int(rank), near=threshold / 2)
    rank = ops.cast(rank, "int32")
    if is_torch_compiling():
        return compiled_cond(look, _find, _find_nothing, row, rank)
    if is_transformed():  # `look` has no value
        return ops.where(look, _find(row, rank), 0.0)
    return kth_by_bisection(row, rank, ops.where(look, PASSES, 0))[0, 0]


def _find(row: Tensor, rank: Tensor) -> Tensor:
    return ops.take(ops.sort(row[0]), row.shape[1] - rank)


def _find_nothing(row: Tensor, rank: Tensor) -> Tensor:  # noqa: ARG001
    return row[0, 0] * 0.0


def _mark(phi: Tensor, level: Tensor, ties: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a level selects, how many that are, and how many are above it.

    Of this replica. Without `ties` the two numbers are taken for equal.
    """
    selected = select(phi, level)
    number = count_marks(selected)
    (level,) = scalars([level], like=phi)
    above = _either(ties, lambda: count_marks(phi > level), lambda: number)
    return selected, number, above


def _of_all(marks: tuple[Tensor, Tensor, Tensor], counted: Tensor) -> _Counts:
    """The counts of all replicas."""
    _, number, above = marks
    both = _replicas.total(arithmetic(like=number).stack([number, above]))
    return _Counts(counted, both[0], both[1])


def _either(condition: Tensor, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """`yes()` or `no()`; of what XLA does in one pass anyway, both are done."""
    if isinstance(condition, bool | np.bool_):
        return yes() if condition else no()
    if keras.backend.backend() == "tensorflow":
        return ops.cond(condition, yes, no)
    return keras.tree.map_structure(
        lambda a, b: ops.where(condition, a, b), yes(), no()
    )
