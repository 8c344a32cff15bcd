"""A threshold τ that a given fraction of a stream of φ reaches, batch by batch.

Stateless: tensors in, tensors out. An ordinary batch compares every φ with τ, counts,
and moves ln τ a little (`Reference.follow`). A few batches *search*: they compare τ
with their own quantile, and set it anew at the start, after a change of the stream, and
where many values are equal. Which batches search depends on their number alone, so no
device has to be asked.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.backend import ThresholdState, backend
from keras_mono.backend.reference import LARGEST_THRESHOLD, SMALLEST_PHI, growth
from keras_mono.selectors.quantile import largest_of_fraction, largest_of_replicas

# What these numbers do is measured in tests/selectors.
SEARCH_EVERY = 32  # batches; before the 32nd, batches 0, 1, 2, 4, 8 and 16 search
MEMORY = 1 / 32  # weight of a batch in the running error ...
LONG_MEMORY = 1 / 256  # ... and in the running square of the error
CHANGED = 0.2  # running error from which the stream may have changed ...
ONE_SIDED = 0.5  # ... if its square is this much of the running square
FIRST_JUMP = 0.5  # of ln τ per mean error since the last search, after τ was set ...
JUMP_DECAY = 0.7  # ... and at each further search
TIED = 0.1  # a value is a tie if this share of the selected ones equals it
NEAR = 2.0  # factor between τ and a tie that it lands on
TIE_MEMORY = 0.25  # weight of a search in the running error of a tie ...
TIE_LOST = 0.1  # ... which ends it
MANY = 2.0**23  # batches, after which counting starts at half; float32 counts to 2²⁴
CONSTANT = 0.95  # a batch with this share of one value says nothing ...
MOSTLY_EQUAL = 0.5  # ... of a batch in which less than one is selected, this share


class Counts(NamedTuple):
    """How many φ of a batch reach a level, and how many exceed it."""

    reaching: Tensor
    above: Tensor


def update(
    phi: Tensor, counted: Tensor, state: Tensor, fraction: float, number: int | None
) -> tuple[Tensor, Tensor]:
    """What τ selects of this batch, boolean, and the state after it.

    `counted` is how many entries of `phi` are activations; the rest is masked and 0.
    With 0 of them τ stays. `state` holds the fields of `ThresholdState` and may be
    overwritten. `number` is how many batches there were, where that is known without
    asking the device.
    """
    counted = ops.cast(counted, "float32")
    before = ThresholdState.of(state)
    searches = is_search(before.num_batches if number is None else number)
    found = None
    if backend.num_replicas() > 1:
        # Messages in no branch that depends on a tensor.
        found = measured_by_all(phi, counted, before, fraction, searches)

    def searched() -> Tensor:
        quantile, at = found or measured(phi, counted, before, fraction)
        after = decide(before, quantile, *at, counted, fraction)
        after = ops.stack([ops.cast(x, "float32") for x in after])
        learns = ops.logical_or(counted > 0.0, before.num_batches == 0.0)
        return ops.where(learns, after, state)

    state = backend.cond(searches, searched, lambda: state)
    selected = backend.at_least(phi, state[0])
    number_selected = backend.all_reduce_sum(backend.count_true(selected))
    return selected, backend.follow(state, number_selected, counted, fraction)


def is_search(number: Any) -> Any:
    """Whether the batch after so many searches: a bool for an int, else a tensor."""
    if isinstance(number, int):
        early = number < SEARCH_EVERY and number & (number - 1) == 0
        return early or number % SEARCH_EVERY == 0
    early = np.array([0, 1, 2, 4, 8, 16], "float32")
    return ops.logical_or(ops.any(number == early), number % SEARCH_EVERY == 0.0)


def window_before(number: Tensor) -> Tensor:
    """How many batches there were since the search before this one."""
    return ops.clip(number / 2.0, 1.0, SEARCH_EVERY)


def measured(
    phi: Tensor, counted: Tensor, state: ThresholdState, fraction: float
) -> tuple[Tensor, tuple[Counts, Counts]]:
    """The φ that the fraction of this batch reaches, and the counts there and at τ."""
    found = largest_of_fraction(phi, counted, fraction)
    levels = found, state.threshold
    return found, tuple(_counts(phi, counted, level) for level in levels)  # type: ignore[return-value]


def measured_by_all(
    phi: Tensor,
    counted: Tensor,
    state: ThresholdState,
    fraction: float,
    searches: Any,
) -> tuple[Tensor, tuple[Counts, Counts]] | None:
    """The same over all replicas; None if it is known that it is not needed."""
    if searches is False:
        return None
    found = largest_of_replicas(phi, counted, fraction, searches)
    own = [
        backend.count_true(x)
        for level in (found, state.threshold)
        for x in (backend.at_least(phi, level), phi > ops.maximum(level, SMALLEST_PHI))
    ]
    sums = backend.all_reduce_sum(ops.stack(own))
    at = [Counts(sums[i], sums[i + 1]) for i in (0, 2)]
    at = [
        _of_zeros(counted, level, counts)
        for level, counts in zip((found, state.threshold), at, strict=True)
    ]
    return found, (at[0], at[1])


def _counts(phi: Tensor, counted: Tensor, level: Tensor) -> Counts:
    reaching = backend.count_true(backend.at_least(phi, level))
    above = backend.count_true(phi > ops.maximum(level, SMALLEST_PHI))
    return _of_zeros(counted, level, Counts(reaching, above))


def _of_zeros(counted: Tensor, level: Tensor, counts: Counts) -> Counts:
    """At the level 0, which all reach, what is selected are those above it."""
    zero = level <= SMALLEST_PHI
    return Counts(
        ops.where(zero, counted, counts.reaching),
        ops.where(zero, counts.reaching, counts.above),
    )


def decide(
    before: ThresholdState,
    found: Tensor,
    at_found: Counts,
    at_threshold: Counts,
    counted: Tensor,
    fraction: float,
) -> ThresholdState:
    """The state that selects from this batch on; `found` is the batch's quantile."""
    nothing, counted = counted <= 0.0, ops.maximum(counted, 1.0)
    expected = fraction * counted
    tau, ties = before.threshold, before.has_ties > 0.0
    mean, error, square, jump = _errors(before, expected, fraction)
    tie_error = _tie_error(before, at_threshold, expected)

    # Where kinds of batches mix, errors are large and of both signs, and none of the
    # batches is what the stream is.
    changed = ops.logical_and(
        ops.abs(error) > CHANGED, error * error > ONE_SIDED * square
    )
    unset = ops.logical_or(before.num_batches == 0.0, tau >= LARGEST_THRESHOLD)
    anew = ops.logical_or(unset, ops.logical_and(changed, ops.logical_not(ties)))

    equal = at_found.reaching - at_found.above
    limit = ops.where(expected < 1.0, MOSTLY_EQUAL, CONSTANT)
    constant = ops.logical_and(equal > limit * counted, equal >= 2.0)
    tie = ops.logical_and(_is_tie(at_found, expected), expected >= 1.0)
    tie = ops.logical_and(tie, ops.logical_not(constant))
    # A stream with many equal values has no other threshold than one of them, and small
    # moves come near, but never land on it.
    near = ops.logical_and(found * NEAR > tau, tau * NEAR > found)
    lands = ops.logical_and(ops.logical_and(tie, near), ops.logical_not(ties))
    held = ops.logical_and(tie_error <= TIE_LOST, mean >= -TIE_LOST)
    keeps = ops.logical_and(_is_tie(at_threshold, expected), held)
    keeps = ops.logical_and(ties, keeps)

    quantile = ops.clip(found, SMALLEST_PHI, LARGEST_THRESHOLD)
    threshold = ops.where(keeps, tau, tau * ops.exp(jump))
    threshold = ops.where(lands, quantile, threshold)
    waits = ops.logical_or(constant, nothing)
    first = ops.where(waits, LARGEST_THRESHOLD, quantile)
    threshold = ops.clip(
        ops.where(anew, first, threshold), SMALLEST_PHI, LARGEST_THRESHOLD
    )
    has_ties = ops.where(anew, tie, ops.logical_or(lands, keeps))
    rests = ops.logical_or(has_ties, threshold >= LARGEST_THRESHOLD)
    forgets = ops.logical_or(anew, has_ties)
    return ThresholdState(
        threshold=threshold,
        selected_fraction=before.selected_fraction,
        num_batches=ops.where(before.num_batches >= MANY, MANY / 2, before.num_batches),
        error_sum=before.error_sum * 0.0,
        square_sum=before.square_sum * 0.0,
        growth=ops.where(rests, 1.0, growth(fraction)),
        error=ops.where(forgets, 0.0, error),
        mean_square=ops.where(anew, 1.0 + 1.0 / expected, square),
        jump=ops.where(anew, FIRST_JUMP, before.jump * JUMP_DECAY),
        has_ties=ops.cast(has_ties, "float32"),
        tie_error=ops.where(keeps, tie_error, 0.0),
    )


def _errors(
    before: ThresholdState, expected: Tensor, fraction: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean error of the window, running error and square, and the move of ln τ.

    The error of a batch is neither clipped nor weighted, so that τ rests only where the
    mean error is 0, whatever kinds of batches there are.
    """
    window = window_before(before.num_batches)
    hits = ops.minimum(expected, 1.0)  # memories last as many expected hits
    mean = before.error_sum / (window * fraction)
    square = before.square_sum / (window * fraction**2)
    error = before.error + _weight(MEMORY * hits, window) * (mean - before.error)
    square = ops.minimum(square, LARGEST_THRESHOLD) - before.mean_square
    square = before.mean_square + _weight(LONG_MEMORY * hits, window) * square
    jump = ops.minimum(before.jump, expected * window) * mean
    return mean, error, square, ops.clip(jump, -1.0, 1.0)


def _weight(memory: Tensor, batches: Tensor) -> Tensor:
    """Of the latest so many batches, if the latest one has the weight `memory`."""
    return 1.0 - ops.power(1.0 - memory, batches)


def _is_tie(counts: Counts, expected: Tensor) -> Tensor:
    equal = counts.reaching - counts.above
    return ops.logical_and(equal >= TIED * expected, equal >= 2.0)


def _tie_error(before: ThresholdState, at: Counts, expected: Tensor) -> Tensor:
    """Running relative error of the fraction above a τ that many values equal."""
    off = at.above / expected - 1.0
    return before.tie_error + TIE_MEMORY * (off - before.tie_error)
