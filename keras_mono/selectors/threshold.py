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
from keras_mono.backend.reference import (
    GAIN,
    LARGEST_THRESHOLD,
    SMALLEST_PHI,
    growth,
)
from keras_mono.selectors.quantile import largest_of_fraction, largest_of_replicas

# What these numbers do is measured in tests/selectors.
SEARCH_EVERY = 32  # batches; before the 32nd, batches 0, 1, 2, 4, 8 and 16 search
JUMP = 0.15  # largest move of ln τ at a search per mean error since the one before ...
JUMPS = 64.0  # ... up to this batch; then it falls like 1 / number of batches
MEMORY = 1 / 32  # weight of a batch in the running error ...
LONG_MEMORY = 1 / 256  # ... and in the running square of the error
CHANGED = 0.2  # running error from which the stream may have changed ...
ONE_SIDED = 0.5  # ... if its square is this much of the running square
TIED = 0.1  # a value is a tie if this share of the selected ones equals it
NEAR = 2.0  # factor between τ and a tie that it lands on
TIE_MEMORY = 0.25  # weight of a search in the running error of a tie ...
TIE_LOST = 0.1  # ... which ends it
CONSTANT = 0.95  # a batch with this share of one value says nothing ...
MOSTLY_EQUAL = 0.5  # ... of a batch in which less than one is selected, this share


class Counts(NamedTuple):
    """How many φ of a batch reach a level, and how many exceed it."""

    reaching: Tensor
    above: Tensor


def update(
    phi: Tensor,
    counted: Tensor,
    state: Tensor,
    fraction: float,
    number: int | None,
    waited: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What τ selects of this batch, boolean, and the state after it.

    `counted` is how many entries of `phi` are activations; the rest is masked and 0.
    With 0 of them τ stays. `state` holds the fields of `ThresholdState` and may be
    overwritten. `number` is how many batches there were, where that is known without
    asking the device. `waited`: of earlier batches from which the same τ has selected,
    how many φ it selected and how many are activations, both of this replica.
    """
    before, found = ThresholdState.of(state), None
    searches = is_search(before.num_batches if number is None else number)
    if backend.num_replicas() > 1:
        # Messages in no branch that depends on a tensor.
        found = measured_by_all(phi, counted, fraction, before, searches)

    def searched() -> Tensor:
        before = ThresholdState.of(state)  # the compiler allows no views from outside
        at = found or measured(phi, counted, fraction, before)
        count: Any = before.num_batches if number is None else number
        return decide(state, Batch(*at, counted, fraction), count)

    after = backend.cond(searches, searched, lambda: state)
    selected = backend.at_least(phi, after[0])
    number_selected = backend.count_true(selected)
    if waited is None:
        number_selected = backend.all_reduce_sum(number_selected)
    else:
        is_same = ops.cast(after[0] == state[0], "float32")
        number_selected, more = _with_waited(number_selected, waited, is_same)
        counted = counted + more
    return selected, backend.follow(after, number_selected, counted, fraction)


def _with_waited(
    number: Tensor, waited: Tensor, is_same: Tensor
) -> tuple[Tensor, Tensor]:
    """Selected by all replicas, and how many counted in the batches that waited.

    These are left out unless τ `is_same`.
    """
    sums = ops.concatenate([ops.reshape(number, (1,)), waited])
    sums = backend.all_reduce_sum(sums)
    return sums[0] + is_same * sums[1], is_same * sums[2]


def is_search(number: Any) -> Any:
    """Whether the batch after so many searches: a bool for an int, else a tensor."""
    if isinstance(number, int):
        early: Any = number < SEARCH_EVERY and number & (number - 1) == 0
        return early or number % SEARCH_EVERY == 0
    early = np.array([0, 1, 2, 4, 8, 16], "float32")
    return ops.logical_or(ops.any(number == early), number % SEARCH_EVERY == 0.0)


def window_before(number: Any) -> Any:
    """How many batches there were since the search before this one."""
    if isinstance(number, int):
        return float(min(max(number // 2, 1), SEARCH_EVERY))
    return backend.clip(number / 2.0, 1.0, SEARCH_EVERY)


def measured(
    phi: Tensor, counted: Any, fraction: float, state: ThresholdState
) -> tuple[Any, Tensor, Counts, Counts]:
    """How many are to be selected, the φ that they reach, and counts there and at τ."""
    expected = fraction * _at_least_one(counted)
    found = largest_of_fraction(phi, expected, fraction)
    own = _own_counts(phi, found, state.threshold)
    return expected, found, *_counts_at(own, counted, found, state.threshold)


def measured_by_all(
    phi: Tensor, counted: Any, fraction: float, state: ThresholdState, searches: Any
) -> tuple[Any, Tensor, Counts, Counts] | None:
    """The same over all replicas; None if it is known that it is not needed."""
    if searches is False:
        return None
    expected = fraction * _at_least_one(counted)
    found = largest_of_replicas(phi, expected, searches)
    sums = backend.all_reduce_sum(ops.stack(_own_counts(phi, found, state.threshold)))
    own = [sums[i] for i in range(4)]
    return expected, found, *_counts_at(own, counted, found, state.threshold)


def _own_counts(phi: Tensor, *levels: Tensor) -> list[Tensor]:
    """Of this replica: how many reach and how many exceed each level, if not 0."""
    least = [backend.clip(level, SMALLEST_PHI) for level in levels]
    found = [(backend.at_least(phi, level), phi > level) for level in least]
    return [backend.count_true(x) for both in found for x in both]


def _counts_at(own: list[Tensor], counted: Any, *levels: Tensor) -> list[Counts]:
    """At the level 0 all reach it, and those above it are what can be selected."""
    counts = []
    for level, reaching, above in zip(levels, own[::2], own[1::2], strict=True):
        zero = level <= SMALLEST_PHI
        among = backend.where(zero, counted, reaching)
        counts.append(Counts(among, backend.where(zero, reaching, above)))
    return counts


class Batch(NamedTuple):
    """What a search found in a batch."""

    expected: Any  # how many are to be selected
    quantile: Tensor  # φ that so many reach
    at_quantile: Counts
    at_threshold: Counts
    counted: Any
    fraction: float


class Found(NamedTuple):
    """What a batch says by itself."""

    threshold: Tensor  # its quantile, where τ may be
    is_empty: Any  # whether nothing counted: boolean, a bool where that is known
    constant: Tensor  # whether nearly all its values are equal: boolean
    tie: Tensor  # whether many equal its quantile: boolean
    tied: Any  # how many are many


def decide(state: Tensor, batch: Batch, number: Any) -> Tensor:
    """The state that selects from this batch on.

    τ is set from a batch at the start, after a change, and where it waits. Until the
    32nd batch it approaches the stream by large moves, then it is checked.
    """
    before, found = ThresholdState.of(state), _found(batch)
    zero = before.error_sum * 0.0  # the sums begin anew
    new = before._replace(error_sum=zero, square_sum=zero)
    start = _start(new, batch, found)
    if isinstance(number, int) and number == 0:
        return _stacked(start)
    early = number < SEARCH_EVERY
    if isinstance(number, int):
        way = _approach if early else _check
        anew, after = way(before, new, batch, found, number)
    else:
        approached, checked = (
            way(before, new, batch, found, number) for way in (_approach, _check)
        )
        anew = ops.where(early, approached[0], checked[0]) | (number == 0.0)
        pairs = zip(approached[1], checked[1], strict=True)
        after = ThresholdState(*(ops.where(early, a, b) for a, b in pairs))
    decided = ops.where(anew, _stacked(start), _stacked(after))
    if ops.is_tensor(found.is_empty):  # nothing is learned from nothing
        rests = found.is_empty & (before.threshold > 0.0)
        decided = ops.where(rests, state, decided)
    return decided


def _stacked(state: ThresholdState) -> Tensor:
    return ops.stack([ops.cast(x, "float32") for x in state])


def _found(batch: Batch) -> Found:
    counted, expected = batch.counted, batch.expected
    equal = batch.at_quantile.reaching - batch.at_quantile.above
    tied = _larger(TIED * expected, 2.0)
    is_empty, enough = counted <= 0.0, expected >= 1.0
    if ops.is_tensor(enough):
        share = _one_of(enough, CONSTANT, MOSTLY_EQUAL)
    else:
        share = CONSTANT if enough else MOSTLY_EQUAL
    constant = equal > _larger(share * counted, 1.5)
    tie = (equal >= tied) & enough
    threshold = backend.clip(batch.quantile, SMALLEST_PHI, LARGEST_THRESHOLD)
    return Found(threshold, is_empty, constant, tie & ~constant, tied)


def _start(new: ThresholdState, batch: Batch, found: Found) -> ThresholdState:
    """τ set from the batch, or waiting for another batch."""
    waits = found.constant
    if found.is_empty is not False:
        waits = waits | found.is_empty
    zero = new.error_sum
    return new._replace(
        threshold=backend.where(waits, LARGEST_THRESHOLD, found.threshold),
        growth=_growth(batch.fraction, found.tie | waits),
        error=zero,
        mean_square=zero + (batch.expected + 1.0) / batch.expected,
        tie_error=zero,
        has_ties=found.tie,
    )


def _approach(
    before: ThresholdState,
    new: ThresholdState,
    batch: Batch,
    found: Found,  # noqa: ARG001
    number: Any,
) -> tuple[Tensor, ThresholdState]:
    """Whether τ is to be set anew, and the state if not: a large move."""
    mean = before.error_sum / (window_before(number) * batch.fraction)
    after = new._replace(threshold=_jumped(before, batch, mean, number))
    return before.threshold >= LARGEST_THRESHOLD, after


def _check(
    before: ThresholdState,
    new: ThresholdState,
    batch: Batch,
    found: Found,
    number: Any,
) -> tuple[Tensor, ThresholdState]:
    """Whether τ is to be set anew, and the state if not.

    Where kinds of batches mix, errors are large and of both signs, and none of the
    batches is what the stream is. The error of a batch is neither clipped nor weighted,
    so that τ rests only where the mean error is 0.
    """
    mean, error, square = _errors(before, batch, number)
    had_no_ties = before.has_ties <= 0.0
    least = backend.clip(square * ONE_SIDED, CHANGED**2)
    changed = (error * error > least) & had_no_ties
    anew = changed | (before.threshold >= LARGEST_THRESHOLD)

    tie_error = batch.at_threshold.above / batch.expected - 1.0
    tie_error = backend.lerp(before.tie_error, tie_error, TIE_MEMORY)
    all_reach_it = before.threshold <= SMALLEST_PHI  # all but φ = 0 are selected
    held = (tie_error <= TIE_LOST) & ((mean >= -TIE_LOST) | all_reach_it)
    equal = batch.at_threshold.reaching - batch.at_threshold.above
    keeps = held & (equal >= found.tied)
    # A stream with many equal values has no other threshold than one of them, and small
    # moves come near, but never land on it.
    near = batch.quantile * NEAR >= before.threshold
    near = near & (before.threshold * NEAR >= batch.quantile)
    has_ties = ops.where(had_no_ties, near & found.tie, keeps)
    lands = has_ties & had_no_ties
    jumped = _jumped(before, batch, mean, number)
    return anew, new._replace(
        threshold=ops.where(lands, found.threshold, jumped),
        growth=_growth(batch.fraction, has_ties),
        error=ops.where(has_ties, new.error_sum, error),
        mean_square=square,
        tie_error=ops.where(has_ties, tie_error, new.error_sum),
        has_ties=has_ties,
    )


def _jumped(
    before: ThresholdState, batch: Batch, mean_error: Tensor, number: Any
) -> Tensor:
    """τ after a large move, if it moves at all and its small moves are slower."""
    window = window_before(number)
    small = min(GAIN, batch.fraction) * SEARCH_EVERY
    if isinstance(number, int):
        size = max(JUMP * min(1.0, JUMPS / number) - small * (number > JUMPS), 0.0)
        if size == 0.0:
            return before.threshold
    else:
        late = ops.cast(number > JUMPS, "float32")
        size = JUMP * backend.clip(JUMPS / backend.clip(number, 1.0), 0.0, 1.0)
        size = backend.clip(size - small * late, 0.0)
    size = _smaller(size, batch.expected * window)
    move = ops.exp(backend.clip(size * mean_error, -1.0, 1.0))
    return before.threshold * backend.where(before.growth > 1.0, move, 1.0)


def _errors(
    before: ThresholdState, batch: Batch, number: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean relative error since the last search; its running mean and square."""
    window, f = window_before(number), batch.fraction
    mean = before.error_sum / (window * f)
    square = before.square_sum / (window * f**2)
    hits = _smaller(batch.expected, 1.0)  # memories last as many expected hits
    error = backend.lerp(before.error, mean, _weight(MEMORY * hits, window))
    long = _weight(LONG_MEMORY * hits, window)
    return mean, error, backend.lerp(before.mean_square, square, long)


def _weight(memory: Any, batches: Any) -> Any:
    """Of the latest so many batches, if the latest one has the weight `memory`."""
    return 1.0 - (1.0 - memory) ** batches


def _growth(fraction: float, rests: Tensor) -> Tensor:
    """1 where τ rests."""
    return _one_of(rests, 1.0, growth(fraction))


def _one_of(condition: Tensor, yes: float, no: float) -> Tensor:
    """Of two numbers, in float32 whatever `keras.config.floatx()` is."""
    return ops.cast(backend.where(condition, yes, no), "float32")


def _at_least_one(counted: Any) -> Any:
    return _larger(counted, 1.0)


def _larger(x: Any, least: float) -> Any:
    return backend.clip(x, least) if ops.is_tensor(x) else max(float(x), least)


def _smaller(x: Any, y: Any) -> Any:
    """Of numbers and tensors, in any order."""
    if ops.is_tensor(x) and ops.is_tensor(y):
        return ops.minimum(x, y)
    if ops.is_tensor(y):
        x, y = y, x
    return backend.clip(x, None, y) if ops.is_tensor(x) else min(x, y)
