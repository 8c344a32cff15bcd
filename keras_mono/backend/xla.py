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

    def moments(
        self,
        z: Tensor,
        deviation: Tensor,
        squared: Tensor,
        valid: Tensor,
        count: Tensor,
        skipped: Tensor,
        statistics: Statistics,
        axes: Axes,
    ) -> BatchMoments:
        def two_passes() -> BatchMoments:
            return super(OnePass, self).moments(
                z, deviation, squared, valid, count, skipped, statistics, axes
            )

        if self.num_replicas() > 1:  # no messages in a branch
            return two_passes()
        num_valid = ops.maximum(count, 1.0)
        offset = self.sum_over(deviation, axes) / num_valid
        mean_square = self.sum_over(squared, axes) / num_valid
        variance = ops.maximum(mean_square - ops.square(offset), 0.0)
        offset = statistics.mean_compensation + offset
        of_all = ops.sum(skipped)
        num_entries = ops.sum(count) + of_all
        one_pass = BatchMoments(
            count, statistics.mean, offset, variance, of_all, num_entries
        )
        near = ops.all(statistics.count >= count / OUTWEIGHED)
        return self.cond(near, lambda: one_pass, two_passes)
