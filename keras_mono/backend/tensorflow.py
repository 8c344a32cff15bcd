"""What TensorFlow does otherwise."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.reference import LARGEST_ENTRY
from keras_mono.backend.types import BatchMoments, Statistics
from keras_mono.backend.xla import OUTWEIGHED, OnePass

_ROWS = 512  # that lose few digits when added up one after the other


class TensorFlow(OnePass):
    """Replicas are those of the `tf.distribute` strategy."""

    def measure(
        self,
        z: Tensor,
        mask: Tensor | None,
        statistics: Statistics,
        axes: Axes,
        has_history: bool | None = None,
    ) -> tuple[Tensor, BatchMoments]:
        """Sums tell first whether any entry has to be left out.

        Without XLA, which Keras does not use on a CPU, comparisons of all entries are a
        quarter of the passes over memory.
        """

        def entry_by_entry() -> tuple[Tensor, BatchMoments]:
            return super(TensorFlow, self).measure(
                z, mask, statistics, axes, has_history
            )

        if mask is not None or self.num_replicas() > 1:
            return entry_by_entry()
        deviation = (z - statistics.mean) - statistics.mean_compensation
        squared = ops.square(deviation)
        sums = self.sum_over(deviation, axes), self.sum_over(squared, axes)
        count = ops.zeros_like(sums[0]) + self.num_entries(z, mask, axes)
        near = ops.all(statistics.count >= count / OUTWEIGHED)
        all_valid = ops.sum(sums[1]) < LARGEST_ENTRY**2  # False for NaN too

        def at_once() -> tuple[Tensor, BatchMoments]:
            skipped = ops.zeros((), "float32")
            return squared, self.moments_of_sums(count, *sums, skipped, statistics)

        return self.cond(ops.logical_and(near, all_valid), at_once, entry_by_entry)

    def sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        """TensorFlow adds up one row after the other, and loses digits over many.

        10⁶ rows cost half of them. Short sums of short sums lose none, and are faster.
        """
        for i in reversed(axes):
            if i > 0:
                x = ops.sum(x, axis=i, keepdims=True)
        if axes[0] > 0:
            return x
        rows, *rest = ops.shape(x)
        width = 1 + rows // _ROWS  # of this many columns of sums
        length = rows // width
        sums = ops.sum(ops.reshape(x[: length * width], (length, width, *rest)), axis=0)
        left = ops.sum(x[length * width :], axis=0, keepdims=True)
        return left + ops.sum(sums, axis=0, keepdims=True)

    def replace(
        self, z: Tensor, selected: Tensor, mean: Tensor, strength: Any
    ) -> Tensor:
        """In two passes where the definition takes eight without XLA."""
        z = ops.convert_to_tensor(z)
        mean = ops.stop_gradient(ops.cast(mean, z.dtype))
        strength = ops.stop_gradient(ops.cast(strength, z.dtype))

        @tf.custom_gradient
        def replaced(z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            def gradient(upstream: Tensor) -> Tensor:
                return ops.where(selected, -strength * upstream, upstream)

            return ops.where(selected, mean, z), gradient

        return replaced(z)

    def num_replicas(self) -> int:
        context = tf.distribute.get_replica_context()
        return 1 if context is None else context.num_replicas_in_sync

    def replica_index(self) -> Any:
        if self.num_replicas() == 1:
            return 0
        context = tf.distribute.get_replica_context()
        return ops.cast(context.replica_id_in_sync_group, "int32")

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        if self.num_replicas() == 1:
            return x
        return tf.distribute.get_replica_context().all_reduce("SUM", x)

    def count_up(self, counter: Any, by: Any, after: Tensor) -> None:
        """Only if there are data.

        In a graph TensorFlow finds out on the way that a data set of unknown length has
        ended. What does not depend on the batch is done by then.
        """
        with tf.control_dependencies([after]):
            by = tf.identity(ops.convert_to_tensor(by))
        super().count_up(counter, by, after)
