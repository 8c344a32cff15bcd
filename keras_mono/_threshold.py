"""A threshold that a given fraction of a stream of φ exceeds, followed batch by batch.

Stateless: tensors in, tensors out. A step compares every φ with the threshold and
counts. It sets the threshold anew, from the batch at hand, only at the start, after a
change of the stream, and where many values are equal.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_mono._bisection import kth_by_bisection
from keras_mono._eager import arithmetic, is_eager_on_cpu, scalars
from keras_mono._typing import Tensor
from keras_mono.ops.monosemantic_scale import SMALLEST_PHI

# What the following numbers do is measured in tests/selectors/test_threshold_follows.py
GAIN = 0.012  # relative move of the threshold a batch, per relative error of the share
FIRST_GAIN = 0.3  # of the first batch after it was set; the n-th has 1/n of it
MEMORY = 1 / 16  # weight of the latest batch in the running error
CHANGED = 0.5  # running error from which the stream counts as changed ...
CHANGED_NOISE = 0.8  # ... and how much more per standard deviation of a batch's share
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


class _Shares(NamedTuple):
    above: Tensor
    reaching: Tensor


def follow(
    phi: Tensor, counted: Tensor, state: Tensor, fraction: float
) -> tuple[Tensor, Tensor]:
    """What τ selects of this batch, and the state after it.

    `counted` is how many entries of `phi` are activations; the rest is masked and 0.
    With 0 of them nothing changes. `state` holds the fields of `Threshold`.
    """
    if 0 in phi.shape:
        return select(phi, state[0]), state
    fields = [state[i] for i in range(len(Threshold._fields))]
    counted, *fields = scalars([counted, *fields], like=phi)
    before, np_or_ops = Threshold(*fields), arithmetic(like=phi)
    there_is_something = counted > 0.0
    counted = np_or_ops.maximum(counted, 1.0)

    noise = (fraction * counted) ** -0.5  # standard deviation of the relative error
    changed = abs(before.error) > CHANGED + CHANGED_NOISE * noise
    unsettled = (before.tied == 0.0) | (abs(before.error) >= SETTLED)
    turn = (before.age % LOOK_EVERY == 0.0) & unsettled
    threshold = ops.cond(
        there_is_something & (changed | turn),
        lambda: _looked_up(phi, counted, before.threshold, changed, fraction),
        lambda: before.threshold,
    )
    age = np_or_ops.where(changed, 0.0, before.age)
    running = np_or_ops.where(threshold != before.threshold, 0.0, before.error)

    selected = select(phi, threshold)
    shares = _shares(phi, threshold, selected, counted)
    tied = _is_tied(shares, counted, fraction)
    error = np_or_ops.maximum(shares.above / fraction - 1.0, 0.0)
    error = error + np_or_ops.minimum(shares.reaching / fraction - 1.0, 0.0)
    error = np_or_ops.minimum(error, 1.0 + 4.0 * noise * noise)
    stays = tied & (abs(running) < SETTLED)
    gain = np_or_ops.maximum(FIRST_GAIN / (age + 1.0), GAIN)
    move = np_or_ops.minimum(gain * np_or_ops.where(stays, 0.0, error), 1.0)
    moved = threshold * np_or_ops.exp(move)
    after = Threshold(
        threshold=np_or_ops.minimum(moved, LARGEST),
        error=running + MEMORY * (error - running),
        age=age + 1.0,
        tied=np_or_ops.where(tied, 1.0, 0.0),
        share=np_or_ops.where(threshold > 0.0, shares.reaching, shares.above),
    )
    learned = np_or_ops.where(
        there_is_something, np_or_ops.stack(after), np_or_ops.stack(before)
    )
    return selected, ops.cast(learned, "float32")


def select(phi: Tensor, threshold: Tensor) -> Tensor:
    """φ ≥ τ, and never φ = 0."""
    least = arithmetic(like=phi).maximum(*scalars([threshold, SMALLEST_PHI], like=phi))
    return phi >= least


def _looked_up(
    phi: Tensor, counted: Tensor, threshold: Tensor, changed: Tensor, fraction: float
) -> Tensor:
    """The φ that a fraction of this very batch reaches, if τ is to be set to it.

    A stream with many equal values has no other threshold than one of them, and small
    moves never land on it.
    """
    np_or_ops = arithmetic(like=phi)
    rank = ops.cast(
        np_or_ops.maximum(np_or_ops.round(fraction * counted), 1.0), "int32"
    )
    found = kth_by_bisection(ops.reshape(phi, (1, -1)), rank)
    (found,) = scalars([found[0, 0]], like=phi)
    tied = _is_tied(_shares(phi, found, select(phi, found), counted), counted, fraction)
    stuck = threshold == 0.0  # as at first: moves are relative
    return np_or_ops.where(changed | tied | stuck, found, threshold)


def _shares(
    phi: Tensor, threshold: Tensor, selected: Tensor, counted: Tensor
) -> _Shares:
    """Shares of the activations above τ and at least τ; all are at least 0."""
    (threshold,) = scalars([threshold], like=phi)
    above = _count(phi > threshold) / counted
    reaching = _count(selected) / counted
    at_zero = threshold <= 0.0
    return _Shares(above, arithmetic(like=phi).where(at_zero, 1.0, reaching))


def _is_tied(shares: _Shares, counted: Tensor, fraction: float) -> Tensor:
    equal = shares.reaching - shares.above
    return (equal >= TIED * fraction) & (equal * counted >= 2.0)


def _count(condition: Tensor) -> Tensor:
    if is_eager_on_cpu(condition):  # a third of the time of a sum
        return np.float32(condition.count_nonzero().item())
    return ops.cast(ops.sum(condition), "float32")
