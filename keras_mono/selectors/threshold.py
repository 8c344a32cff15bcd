"""A threshold τ that a given fraction of a stream of φ reaches, batch by batch.

Stateless: tensors in, tensors out. An ordinary batch compares every φ with τ, counts,
and moves ln τ a little (`Reference.follow`). A few batches *search*: they compare τ
with their own quantile, and set it anew at the start, after a change of the stream, and
where many values are equal. Which batches search depends on their number alone, so no
device has to be asked.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

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
SEARCH_EVERY = 32  # batches; before the 32nd those after 0, 1, 2, 4, 8 and 16 search
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
    With 0 of them τ stays. `state`, fields of `ThresholdState`, may be overwritten.
    `number` is how many batches there were, if known. `waited` are φ selected, and
    activations, of this replica in earlier batches of τ.
    """
    before, found = ThresholdState.of(state), None
    # Not 1.0: the compiler's branches take whole numbers of unknown shapes alone.
    present = _larger(counted, 1)
    searches = is_search(before.num_batches if number is None else number)
    searches = backend.beside(searches, counted)
    # Messages are in no branch that depends on a tensor.
    if backend.num_replicas() > 1 and searches is not False:
        quantile = partial(largest_of_replicas, needed=searches)
        found = measured(phi, counted, present, before, fraction, quantile)

    def searched() -> Tensor:
        before = ThresholdState.of(state)  # the compiler allows no views from outside
        quantile = partial(largest_of_fraction, fraction=fraction)
        batch = found or measured(phi, counted, present, before, fraction, quantile)
        count: Any = before.num_batches if number is None else number
        return decide(state, batch, fraction, count)

    after = backend.cond(searches, searched, lambda: state)
    selected = backend.at_least(phi, after[0])
    if waited is None:
        num = backend.all_reduce_sum(backend.count_selected(selected, after))
    else:
        num, counted = _with_waited(selected, counted, waited, after[0] == state[0])
        present = _larger(counted, 1.0)
    return selected, backend.follow(after, num, present, _smaller(counted, fraction))


def _with_waited(
    selected: Tensor, counted: Any, waited: Tensor, is_same: Tensor
) -> tuple[Tensor, Tensor]:
    """How many all replicas have selected, and counted, those that waited included.

    These are left out unless τ `is_same`.
    """
    number = ops.reshape(backend.count_true(selected), (1,))
    sums = backend.all_reduce_sum(ops.concatenate([number, waited]))
    is_same = ops.cast(is_same, "float32")
    return sums[0] + is_same * sums[1], counted + is_same * sums[2]


def is_search(number: Any) -> Any:
    """Whether the batch after so many searches: a bool for an int, else a tensor.

    Of a power of two, and of 0, no bit is left by the one below it; of a multiple of
    `SEARCH_EVERY`, itself one, none by the bits below that.
    """
    if isinstance(number, int):
        return number & min(number - 1, SEARCH_EVERY - 1) == 0
    number = ops.cast(number, "int32")
    return ops.bitwise_and(number, _smaller(number - 1, SEARCH_EVERY - 1)) == 0


def window_before(number: Any) -> Any:
    """How many batches there were since the search before this one."""
    return _smaller(_larger(number / 2.0, 1.0), float(SEARCH_EVERY))


class Batch(NamedTuple):
    """What a search measures in a batch."""

    counted: Any
    expected: Any  # how many of those that count are to be selected
    had_no_ties: Tensor  # whether τ lies on no tie: boolean
    level: Tensor  # τ if it lies on a tie, else the φ that the expected number reaches
    at_zero: Tensor  # whether the level stands for φ = 0: boolean
    above: Tensor  # how many exceed it
    usual: Any  # `expected` if nothing is masked: a number where shapes are known
    varied: Tensor  # False if nearly all its values are equal: boolean
    many: Tensor  # whether many equal its level: boolean
    may_tie: Tensor  # whether these would make a tie: boolean


def measured(
    phi: Tensor,
    counted: Any,
    present: Any,
    state: ThresholdState,
    fraction: float,
    quantile: Callable[[Tensor, Any], Tensor],
) -> Batch:
    """`quantile` gives the φ that an expected number of them reach."""
    expected = fraction * present
    had_no_ties = state.has_ties <= 0.0
    level = quantile(phi, expected)
    level = backend.clip(level, SMALLEST_PHI, LARGEST_THRESHOLD)
    level = ops.where(had_no_ties, level, state.threshold)
    found = backend.at_least(phi, level), phi > level
    size = backend.num_entries(phi, None, tuple(range(len(phi.shape))))
    reaching, above = map(backend.count_true, found)
    if backend.num_replicas() > 1:  # their batches may be of different sizes
        size = ops.cast(size, "float32")
        reaching, above, size = backend.all_reduce_sums(reaching, above, size)
    # At level 0 all reach it, and those above it are what can be selected.
    at_zero = level <= SMALLEST_PHI
    equal = backend.where(at_zero, counted, reaching) - above
    usual = fraction * _larger(size, 1.0)
    enough = usual >= 1.0
    most = _one_of(enough, CONSTANT, MOSTLY_EQUAL) * present
    varied = equal <= (most if enough is True else _larger(most, 1.5))
    may_tie = varied if enough is True else varied & enough
    many = equal >= _larger(TIED * expected, 2.0)
    seen = counted, expected, had_no_ties, level, at_zero, above, usual
    return Batch(*seen, varied, many, may_tie)


class Decision(NamedTuple):
    """What a search decides, and the running figures if τ goes on."""

    anew: Tensor  # whether τ is set from this batch: boolean
    has_ties: Tensor  # whether τ lies on a tie from now on: boolean
    moved: Tensor  # τ if neither
    error: Tensor
    noise: Tensor
    share_above: Tensor


def decide(state: Tensor, batch: Batch, fraction: float, number: Any) -> Tensor:
    """The state that selects from this batch on.

    τ is set from a batch at the start, after a change, and where it waits. Until the
    32nd batch it approaches the stream by large moves, then it is checked.
    """
    before = ThresholdState.of(state)
    early, is_empty = number < SEARCH_EVERY, batch.counted <= 0.0
    known = isinstance(number, int)
    if early is not False and is_empty is not False:  # it may be the first batch
        batch = batch._replace(varied=batch.varied & (batch.counted > 0.0))
    if known:
        way = _approach if early else _check
        decision = way(before, batch, fraction, number)
    else:
        pairs = zip(
            _approach(before, batch, fraction, number),
            _check(before, batch, fraction, number),
            strict=True,
        )
        decision = Decision(*(ops.where(early, a, b) for a, b in pairs))
    after = _decided(state, batch, fraction, decision)
    if is_empty is not False and not (known and number == 0):
        # Nothing is learned from nothing.
        is_empty = is_empty if known else is_empty & (number > 0.0)
        after = state if is_empty is True else ops.where(is_empty, state, after)
    return after


def _decided(
    state: Tensor, batch: Batch, fraction: float, decision: Decision
) -> Tensor:
    """τ on the level of the batch, or waiting for another batch, or moved."""
    anew, has_ties = decision.anew, decision.has_ties
    settled = anew | has_ties
    here = backend.where(batch.varied | has_ties, batch.level, LARGEST_THRESHOLD)
    threshold = ops.where(settled, here, decision.moved)
    hits = _smaller(batch.usual, 1.0)
    rests = has_ties | (threshold >= LARGEST_THRESHOLD)
    return backend.replaced(
        state,
        ThresholdState._fields,
        threshold=threshold,
        error_sum=0.0,
        square_sum=0.0,
        growth=_one_of(rests, 1.0, growth(fraction)),
        error=backend.where(settled, 0.0, decision.error),
        noise=backend.where(anew, ONE_SIDED / hits, decision.noise),
        share_above=backend.where(has_ties, decision.share_above, 1.0),
        has_ties=has_ties,
    )


def _approach(
    before: ThresholdState, batch: Batch, fraction: float, number: Any
) -> Decision:
    """A large move, unless τ waits or was never set."""
    waits = before.threshold >= LARGEST_THRESHOLD
    anew = waits | (before.threshold <= 0.0)
    has_ties = ops.where(anew, batch.may_tie & batch.many, ~batch.had_no_ties)
    mean = before.error_sum / (window_before(number) * fraction)
    moved = _jumped(before, mean, batch.usual, fraction, number)
    above = backend.where(anew, 1.0, before.share_above)
    return Decision(anew, has_ties, moved, before.error, before.noise, above)


def _check(
    before: ThresholdState, batch: Batch, fraction: float, number: Any
) -> Decision:
    """Whether the stream has changed, and whether τ stays or lands on a tie.

    Where kinds of batches mix, errors are large and of both signs, and none of the
    batches is what the stream is. The error of a batch is neither clipped nor weighted,
    so that τ rests only where the mean error is 0.
    """
    mean, error, noise = _errors(before, batch.usual, fraction, number)
    changed = (error * error > backend.clip(noise, CHANGED**2)) & batch.had_no_ties
    anew = changed | (before.threshold >= LARGEST_THRESHOLD)

    above = batch.above / batch.expected
    above = backend.lerp(before.share_above, above, TIE_MEMORY)
    # Where all but φ = 0 are selected, fewer than the fraction may be.
    held = (above <= 1.0 + TIE_LOST) & ((mean >= -TIE_LOST) | batch.at_zero)
    # A stream with many equal values has no other threshold than one of them, and small
    # moves come near, but never land on it.
    angle = ops.arctan2(batch.level, before.threshold)  # their quotient may overflow
    near = backend.clip(angle, math.atan(1.0 / NEAR), math.atan(NEAR)) == angle
    lands = batch.may_tie & (near | anew)
    has_ties = batch.many & ops.where(batch.had_no_ties, lands, held)
    moved = _jumped(before, mean, batch.usual, fraction, number)
    return Decision(anew, has_ties, moved, error, noise, above)


def _jumped(
    before: ThresholdState, mean_error: Tensor, usual: Any, fraction: float, number: Any
) -> Tensor:
    """τ after a large move, if it moves at all and its small moves are slower."""
    window = window_before(number)
    gain = min(GAIN, fraction)
    size = JUMP * _smaller(JUMPS / _larger(number, 1.0), 1.0)
    small = _one_of(number > JUMPS, gain * SEARCH_EVERY, 0.0)
    size = _larger(size - small, 0.0)
    if isinstance(size, float) and size == 0.0:
        return before.threshold
    # In powers of `growth`, which is 1 where τ rests.
    unit = fraction / gain
    size = unit * _smaller(size, usual * window)
    move = backend.clip(size * mean_error, -unit, unit)
    return before.threshold * ops.power(before.growth, move)


def _errors(
    before: ThresholdState, usual: Any, fraction: float, number: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean relative error since the last search; its running mean, and its noise."""
    window = window_before(number)
    mean = before.error_sum / (window * fraction)
    noise = before.square_sum / (window * fraction**2 / ONE_SIDED)
    hits = _smaller(usual, 1.0)  # memories last as many expected hits
    error = backend.lerp(before.error, mean, _weight(MEMORY * hits, window))
    long = _weight(LONG_MEMORY * hits, window)
    return mean, error, backend.lerp(before.noise, noise, long)


def _weight(memory: Any, batches: Any) -> Any:
    """Of the latest so many batches, if the latest one has the weight `memory`."""
    return 1.0 - (1.0 - memory) ** batches


def _one_of(condition: Any, yes: float, no: float) -> Any:
    """Of two numbers."""
    if isinstance(condition, bool):
        return yes if condition else no
    return backend.where(condition, yes, no)


def _larger(x: Any, least: float) -> Any:
    return backend.clip(x, float(least)) if ops.is_tensor(x) else max(x, least)


def _smaller(x: Any, y: Any) -> Any:
    """Of numbers and tensors, in any order."""
    if ops.is_tensor(x) and ops.is_tensor(y):
        return ops.minimum(x, y)
    if ops.is_tensor(y):
        x, y = y, x
    return backend.clip(x, None, y) if ops.is_tensor(x) else min(x, y)
