"""What the functions of a backend hand to each other."""

from typing import Any, NamedTuple

from keras import ops

from keras_mono._internal.typing import Tensor


class Statistics(NamedTuple):
    """Running statistics of each neuron, float32, size 1 on the axes reduced over.

    `mean + mean_compensation` is the mean. The compensation holds what float32 cannot
    add to `mean` (Kahan); without it a long history of N(1000, 0.01²) would stop
    moving.
    """

    mean: Tensor
    mean_compensation: Tensor
    variance: Tensor  # unbiased
    count: Tensor  # number of values that the statistics weigh
    max_batch_count: Tensor  # most values in one batch


class BatchMoments(NamedTuple):
    """Moments of the valid entries of a batch, over all replicas.

    `anchor + anchor_compensation + offset` is the mean of the batch: float32 alone
    would lose its digits.
    """

    count: Tensor  # valid entries of each neuron
    anchor: Tensor  # near the mean
    offset: Tensor
    variance: Tensor  # biased
    num_skipped: Tensor  # scalar: entries that are neither valid nor masked
    num_entries: Any  # scalar, or a number: entries that are not masked
    anchor_compensation: Any = 0.0  # of a backend whose `merge` takes it
    valid: Any = None  # which entries these are, of a backend that keeps it
    skipped_by_rows: Any = None  # `num_skipped`, for a compiler that computes φ too

    def copied(self) -> "BatchMoments":
        """Without what shares memory with the statistics, or has the batch's size."""
        anchor = ops.copy(self.anchor)
        rest = ops.copy(ops.convert_to_tensor(self.anchor_compensation, "float32"))
        kept = {"anchor": anchor, "anchor_compensation": rest}
        kept |= {"valid": None, "skipped_by_rows": None}
        # Not by `_replace`: what that makes PyTorch 2.11 cannot return from a graph.
        return BatchMoments(**{**self._asdict(), **kept})

    @property
    def shift(self) -> Tensor:
        """How far the mean is from the anchor."""
        return self.anchor_compensation + self.offset


class ThresholdState(NamedTuple):
    """State of a moving threshold: float32 scalars, all 0 before the first batch."""

    threshold: Tensor  # τ
    selected_fraction: Tensor  # of the latest batch
    num_batches: Tensor
    error_sum: Tensor  # of selected fraction - f, since the last search ...
    square_sum: Tensor  # ... and of its square
    growth: Tensor  # τ is multiplied by this to the power of the error; 1: τ rests
    error: Tensor  # running relative error of the selected fraction
    noise: Tensor  # half of its mean square, over a longer time
    share_above: Tensor  # running number above τ of the expected one, if it has ties
    has_ties: Tensor  # 1 if many values equal τ

    @classmethod
    def of(cls, state: Tensor) -> "ThresholdState":
        """From one tensor."""
        return cls(*(state[i] for i in range(len(cls._fields))))
