"""A threshold that a given fraction of a stream of φ exceeds, followed batch by batch.

Stateless: tensors in, tensors out. A step compares every φ with the threshold and
counts. It sets the threshold anew, from the batch at hand, only at the start, after a
change of the stream, and where many values are equal.
"""

from typing import NamedTuple

from keras import ops

from keras_mono._bisection import kth_by_bisection
from keras_mono._typing import Tensor
from keras_mono.ops.monosemantic_scale import SMALLEST_PHI

# What the following numbers do is measured in tests/selectors/test_threshold_follows.py
GAIN = 0.02  # relative move of the threshold a batch, per relative error of the share
FIRST_GAIN = 0.3  # of the first batch after it was set; the n-th has 1/n of it
MEMORY = 1 / 16  # weight of the latest batch in the running error
CHANGED = 0.5  # running error from which the stream counts as changed ...
CHANGED_NOISE = 0.8  # ... and how much more per standard deviation of a batch's share
LOOK_EVERY = 32  # batches between searches for equal values
TIED = 0.1  # a value is a tie if this share of the selected ones equals it
SETTLED = 0.1  # running error below which a tie is kept

LARGEST = 3.4e38


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
    phi: Tensor, counted: Tensor, before: Threshold, fraction: float
) -> tuple[Tensor, Threshold]:
    """The τ for this batch and the state after it.

    `counted` is how many entries of `phi` are activations; the rest is masked and 0.
    With 0 of them nothing changes.
    """
    if 0 in phi.shape:
        return before.threshold, before
    there_is_something = counted > 0.0
    counted = ops.maximum(counted, 1.0)
    noise = ops.rsqrt(fraction * counted)  # standard deviation of the relative error
    changed = ops.abs(before.error) > CHANGED + CHANGED_NOISE * noise
    new = ops.logical_or(before.age == 0.0, changed)
    settled = ops.logical_and(before.tied > 0.0, ops.abs(before.error) < SETTLED)
    turn = ops.logical_and(before.age % LOOK_EVERY == 0.0, ops.logical_not(settled))
    threshold = ops.cond(
        ops.logical_and(there_is_something, ops.logical_or(new, turn)),
        lambda: _looked_up(phi, counted, before.threshold, new, fraction),
        lambda: before.threshold,
    )
    was_set = threshold != before.threshold
    age = ops.where(new, 0.0, before.age)
    running = ops.where(was_set, 0.0, before.error)

    shares = _shares(phi, threshold, counted)
    tied = _is_tied(shares, counted, fraction)
    error = ops.maximum(shares.above / fraction - 1.0, 0.0)
    error = error + ops.minimum(shares.reaching / fraction - 1.0, 0.0)
    error = ops.minimum(error, 1.0 + 4.0 * noise * noise)
    stays = ops.logical_and(tied, ops.abs(running) < SETTLED)
    gain = ops.maximum(GAIN, FIRST_GAIN / (age + 1.0))
    moved = threshold * ops.exp(gain * ops.where(stays, 0.0, error))
    after = Threshold(
        threshold=ops.minimum(moved, LARGEST),
        error=running + MEMORY * (error - running),
        age=age + 1.0,
        tied=ops.cast(tied, "float32"),
        share=ops.where(threshold > 0.0, shares.reaching, shares.above),
    )
    kept = [
        ops.where(there_is_something, new, old)
        for new, old in zip(after, before, strict=True)
    ]
    return threshold, Threshold(*kept)


def select(phi: Tensor, threshold: Tensor) -> Tensor:
    """φ ≥ τ, and never φ = 0."""
    return phi >= ops.maximum(threshold, SMALLEST_PHI)


def _looked_up(
    phi: Tensor, counted: Tensor, threshold: Tensor, new: Tensor, fraction: float
) -> Tensor:
    """The φ that a fraction of this very batch reaches, if τ is to be set to it.

    A stream with many equal values has no other threshold than one of them, and small
    moves never land on it.
    """
    rank = ops.maximum(ops.round(fraction * counted), 1.0)
    found = kth_by_bisection(ops.reshape(phi, (1, -1)), ops.cast(rank, "int32"))[0, 0]
    tied = _is_tied(_shares(phi, found, counted), counted, fraction)
    stuck = threshold == 0.0  # moves are relative
    use = ops.logical_or(ops.logical_or(new, tied), stuck)
    return ops.where(use, ops.minimum(found, LARGEST), threshold)


def _shares(phi: Tensor, threshold: Tensor, counted: Tensor) -> _Shares:
    """Shares of the activations above τ and at least τ; all are at least 0."""
    above = _count(phi > threshold) / counted
    reaching = _count(phi >= threshold) / counted
    return _Shares(above, ops.where(threshold > 0.0, reaching, 1.0))


def _is_tied(shares: _Shares, counted: Tensor, fraction: float) -> Tensor:
    equal = shares.reaching - shares.above
    return ops.logical_and(equal >= TIED * fraction, equal * counted >= 2.0)


def _count(condition: Tensor) -> Tensor:
    return ops.cast(ops.sum(ops.cast(condition, "int32")), "float32")
