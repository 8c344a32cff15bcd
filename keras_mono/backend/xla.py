"""What compiled backends do otherwise: one pass over the batch where that is exact."""

from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.reference import Reference
from keras_mono.backend.types import BatchMoments, Statistics

# A running mean is where to measure a batch from unless the batch has more than this
# many times the values behind it. An outlier among n values moves their mean at most
# √(N/n) standard deviations of all N, which squared are the digits lost.
OUTWEIGHED = 64.0


class OnePass(Reference):
    """Moments from the running mean, which φ needs anyway; if it is near the batch."""

    def measure(
        self,
        z: Tensor,
        mask: Tensor | None,
        statistics: Statistics,
        axes: Axes,
        has_history: bool | None = None,
    ) -> tuple[Tensor, BatchMoments]:
        def in_two_passes() -> tuple[Tensor, BatchMoments]:
            return super(OnePass, self).measure(z, mask, statistics, axes, has_history)

        if self.num_replicas() > 1:  # no messages in a branch
            return in_two_passes()
        valid = self.valid(z, mask)
        deviation = self.deviation(z, valid, statistics)
        squared = ops.square(deviation)
        count = self.count_over(valid, axes)
        sums = self.sum_over(deviation, axes), self.sum_over(squared, axes)
        skipped = ops.sum(self.num_entries(z, mask, axes) - count)
        one_pass = self.moments_of_sums(count, *sums, skipped, statistics)
        near = ops.all(statistics.count >= count / OUTWEIGHED)
        # The branch takes `z` alone: what else it used would be kept in memory for it.
        return squared, self.cond(near, lambda: one_pass, lambda: in_two_passes()[1])

    def moments_of_sums(
        self,
        count: Tensor,
        total: Tensor,
        squares: Tensor,
        skipped: Tensor,
        statistics: Statistics,
    ) -> BatchMoments:
        """From sums of the deviations from the running mean, and of their squares."""
        num_valid = ops.maximum(count, 1.0)
        offset = total / num_valid
        variance = ops.maximum(squares / num_valid - ops.square(offset), 0.0)
        offset = statistics.mean_compensation + offset
        num_entries = ops.sum(count) + skipped
        mean = statistics.mean
        return BatchMoments(count, mean, offset, variance, skipped, num_entries)
