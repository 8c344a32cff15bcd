"""Reductions over replicas that wait for n batches (PyTorch).

Between two reductions each replica keeps the moments of its own batches, and all
replicas score by the statistics of the latest reduction. At the n-th batch the moments
of these n batches are added up over the replicas, in as many messages as one batch
takes, and the n global batches join the statistics one after the other. The
statistics, which all replicas share, are not part of what is added up. So no batch
counts twice, and at a reduction they are those of reducing every batch. For a threshold
the n batches are one. docs/distributed.md has the error in between.
"""

from collections.abc import Sequence

from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.backend import BatchMoments, Statistics, backend


class WaitingBatches:
    """What a replica has measured since the latest reduction."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what waits."""
        self._measured: list[BatchMoments] = []
        self._counts: Tensor | None = None

    def join(
        self,
        statistics: Statistics,
        batch: BatchMoments,
        forget_steps: int | None,
        reduce_every: int,
        has_history: bool | None,
    ) -> tuple[Statistics, tuple[BatchMoments, ...]]:
        """The statistics after this batch, and the global batches that joined them.

        These are `reduce_every` or none. `batch` holds the moments of this replica.
        `has_history` as in `Reference.measure`.
        """
        # A copy: PyTorch changes the running mean in place.
        self._measured.append(batch.copied())
        if len(self._measured) < reduce_every:
            return statistics, ()
        waited, self._measured = self._measured, []
        batches = all_reduce_batches(waited, statistics, has_history)
        for each in batches:
            statistics = backend.merge(statistics, each, forget_steps)
        return statistics, batches

    def add_counts(self, selected: Tensor, num_entries: Tensor) -> None:
        """Add what a selector did to a batch, of this replica."""
        entries = ops.cast(num_entries, "float32")
        counts = ops.stack([backend.count_true(selected), entries])
        self._counts = counts if self._counts is None else self._counts + counts

    def take_counts(self) -> Tensor | None:
        """The sums of numbers selected and of entries; None if nothing waited."""
        counts, self._counts = self._counts, None
        return counts


def all_reduce_batches(
    batches: Sequence[BatchMoments], statistics: Statistics, has_history: bool | None
) -> tuple[BatchMoments, ...]:
    """The global batches, of which each replica has the moments of its parts.

    In one message, however many batches there are, or in two where the running mean may
    be far from the data, see `Reference.moments`.
    """
    count = ops.stack([batch.count for batch in batches])
    anchor = ops.stack([batch.anchor for batch in batches])
    offset = ops.stack([batch.offset + batch.anchor_compensation for batch in batches])
    variance = ops.stack([batch.variance for batch in batches])
    skipped = ops.stack([ops.cast(batch.num_skipped, "float32") for batch in batches])
    skipped = ops.reshape(skipped, (len(batches), *[1] * (len(count.shape) - 1)))
    agreed = ops.zeros_like(offset) + statistics.mean  # the same on all replicas
    if not has_history:
        number, total = backend.all_reduce_sums(count, count * (anchor + offset))
        agreed = total / ops.maximum(number, 1.0)
    shift = (anchor - agreed) + offset
    squares = count * (variance + ops.square(shift))
    number, total, squares, skipped = backend.all_reduce_sums(
        count, count * shift, squares, skipped
    )
    num_valid = ops.maximum(number, 1.0)
    rest = total / num_valid
    variance = ops.maximum(squares / num_valid - ops.square(rest), 0.0)
    skipped = ops.reshape(skipped, (len(batches), -1))[:, 0]
    entries = [ops.sum(number[i]) + skipped[i] for i in range(len(batches))]
    parts = number, agreed, rest, variance, skipped, entries
    return tuple(BatchMoments(*(x[i] for x in parts)) for i in range(len(batches)))
