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
from keras_mono._typing import Tensor
from keras_mono.ops.monosemantic_scale import SMALLEST_PHI

# What the following numbers do is measured in tests/selectors/test_threshold_follows.py
GAIN = 0.012  # relative move of the threshold a batch, per relative error of the share
FIRST_GAIN = 0.3  # of the first batch after it was set; the n-th has 1/n of it
MEMORY = 1 / 16  # weight of the latest batch in the running error
CHANGED = 0.5  # running error from which the stream counts as changed ...
CHANGED_NOISE = 0.8  # ... and how much more per standard deviation of a batch's share
CHANGED_HITS = 4.0  # ... or per hit, where less than one a batch is expected
FLOOD = 0.5  # share of what should not be selected from which it is a change at once
LOOK_EVERY = 32  # batches between searches for equal values
TIED = 0.1  # a value is a tie if this share of the selected ones equals it
SETTLED = 0.1  # running error below which a tie is kept

LARGEST = 1e30  # of τ


class Threshold(NamedTuple):
    """Float32 scalars, all 0 before the first batch."""

    threshold: Tensor  # τ
    error: Tensor  # running average of the relative error of the share above τ
    age: Tensor  # batches since τ was set from a batch
    tied: Tensor  # 1 if many values equal τ
    share: Tensor  # of the latest batch's entries, how many τ selected


_WITHOUT_SHARE = [0.0 if name == "share" else 1.0 for name in Threshold._fields]


class _Shares(NamedTuple):
    above: Tensor
    reaching: Tensor


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

    expected = fraction * counted
    noise = expected**-0.5  # standard deviation of the relative error
    hit = MEMORY / expected  # what a selected one adds to the running error
    bound = CHANGED + np_or_ops.maximum(CHANGED_NOISE * noise, CHANGED_HITS * hit)
    changed = abs(before.error) > bound
    flood = FLOOD * (1.0 - fraction) * (1.0 + 1.0 / expected)
    flooded = (before.share - fraction > flood) & (before.tied == 0.0)
    changed = changed | flooded
    unsettled = (before.tied == 0.0) | (abs(before.error) >= SETTLED)
    turn = (before.age % LOOK_EVERY == 0.0) & unsettled
    # From 0, as at first and while all activations were constant, small moves lead
    # nowhere, and whatever comes next would be selected whole.
    unset = before.threshold == 0.0
    look = there_is_something & (changed | turn | unset)
    found = _quantile(phi, counted, fraction, look, before.threshold)
    level = np_or_ops.where(look, found, before.threshold)
    ties = look | (before.tied > 0.0)  # elsewhere τ equals at most a stray value
    reaching = select(phi, level)
    here = count_marks(reaching)
    shares = _shares(phi, level, here, counted, ties)
    tied = _is_tied(shares, counted, fraction)
    # A stream with many equal values has no other threshold than one of them, and small
    # moves never land on it.
    use = changed | tied | unset
    threshold = np_or_ops.where(look & ~use, before.threshold, level)
    age = np_or_ops.where(changed, 0.0, before.age)
    running = np_or_ops.where(threshold != before.threshold, 0.0, before.error)
    selected, here = _either(
        threshold != level, lambda: _mark(phi, threshold), lambda: (reaching, here)
    )

    error = np_or_ops.maximum(shares.above / fraction - 1.0, 0.0)
    error = error + np_or_ops.minimum(shares.reaching / fraction - 1.0, 0.0)
    error = np_or_ops.minimum(error, 1.0 + 4.0 * noise * noise)
    stays = tied & (abs(running) < SETTLED)
    gain = np_or_ops.maximum(FIRST_GAIN / (age + 1.0), GAIN)
    gain = np_or_ops.minimum(gain, expected)  # a hit then moves log τ by 1 at most
    move = np_or_ops.minimum(gain * np_or_ops.where(stays, 0.0, error), 1.0)
    moved = threshold * np_or_ops.exp(move)
    after = Threshold(
        threshold=np_or_ops.minimum(moved, LARGEST),
        error=running + MEMORY * (error - running),
        age=age + 1.0,
        tied=np_or_ops.where(tied, 1.0, 0.0),
        share=_replicas.total(here) / counted,
    )
    unchanged = before._replace(share=before.share * 0.0)
    learned = np_or_ops.where(
        there_is_something, np_or_ops.stack(after), np_or_ops.stack(unchanged)
    )
    return selected, ops.cast(learned, "float32")


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


def _shares(
    phi: Tensor, level: Tensor, here: Tensor, counted: Tensor, ties: Tensor
) -> _Shares:
    """Shares of the activations above a level and at least there; φ is at least 0.

    `here` of them are at least there, on this replica. Without `ties` the two shares
    are taken for equal.
    """
    np_or_ops = arithmetic(like=phi)
    (level,) = scalars([level], like=phi)
    above = _either(ties, lambda: count_marks(phi > level), lambda: here)
    both = _replicas.total(np_or_ops.stack([here, above])) / counted
    at_least = np_or_ops.where(level <= 0.0, 1.0, both[0])
    return _Shares(np_or_ops.where(ties, both[1], at_least), at_least)


def _mark(phi: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    selected = select(phi, threshold)
    return selected, count_marks(selected)


def _either(condition: Tensor, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
    """`yes()` or `no()`; of what XLA does in one pass anyway, both are done."""
    if isinstance(condition, bool | np.bool_):
        return yes() if condition else no()
    if keras.backend.backend() == "tensorflow":
        return ops.cond(condition, yes, no)
    return keras.tree.map_structure(
        lambda a, b: ops.where(condition, a, b), yes(), no()
    )


def _is_tied(shares: _Shares, counted: Tensor, fraction: float) -> Tensor:
    equal = shares.reaching - shares.above
    return (equal >= TIED * fraction) & (equal * counted >= 2.0)
