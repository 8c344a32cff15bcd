"""Eager on a CPU: reading is free, and a pass that can be left out is the gain."""

from typing import Any

import numpy as np
import torch

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.reference import LARGEST_ENTRY, SMALLEST_DEVIATION, Reference
from keras_mono.backend.torch.accelerator import TorchOnAccelerator, is_stateless
from keras_mono.backend.torch.scale_invariant import Along
from keras_mono.backend.types import BatchMoments, Statistics
from keras_mono.backend.xla import OUTWEIGHED

# Standard deviations by which a compensation may be left out of a deviation.
_NEGLIGIBLE = 1e-4


class TorchOnCpu(TorchOnAccelerator):
    """For tensors on a CPU where they have values; else as on an accelerator."""

    def known(self, variable: Any, index: int | None = None) -> Any:
        """Read anew: what is written through `.data` leaves no trace."""
        value = variable.value
        if not self._reads_for_free(value) or is_stateless():
            return super().known(variable, index)
        return (value if index is None else value[index]).item()

    def _reads_for_free(self, x: Tensor) -> bool:
        if not isinstance(x, torch.Tensor) or x.device.type != "cpu":
            return False
        return self.has_plain_tensors()

    def measure(
        self,
        z: Tensor,
        mask: Tensor | None,
        statistics: Statistics,
        axes: Axes,
        has_history: bool | None = None,
    ) -> tuple[Tensor, BatchMoments]:
        """Sums tell first whether any entry has to be left out.

        Comparisons of all entries are half of the time without a compiler
        (benchmarks/layer.py).
        """
        if not self._reads_for_free(z) or self.num_replicas() > 1:
            return super().measure(z, mask, statistics, axes, has_history)
        entries = z.numel() // max(statistics.count.numel(), 1)
        if float(statistics.count.min()) < entries / OUTWEIGHED:
            return Reference.measure(self, z, mask, statistics, axes)
        if mask is None and z.numel() and _compensations_are_small(statistics):
            deviation = z - statistics.mean
            total = deviation.sum(axes, keepdim=True)
            squared = deviation.square_()
            squares = squared.sum(axes, keepdim=True)
            if float(squares.sum()) < LARGEST_ENTRY**2:  # False for NaN too
                count = torch.full_like(total, entries)
                none = torch.zeros((), dtype=torch.float32, device="cpu")
                of = count, total, squares, none, z.numel(), statistics
                moments, rest = self._moments(*of), statistics.mean_compensation
                of_mean = {"offset": moments.offset - rest, "anchor_compensation": rest}
                return squared, moments._replace(**of_mean)
        return super().measure(z, mask, statistics, axes, has_history=True)

    def _along(self, z: Tensor, axes: Axes) -> Along:
        return Along(axes, in_one_kernel=not self._reads_for_free(z))

    def at_least(self, phi: Tensor, level: Tensor) -> Tensor:
        """NumPy compares four times as fast as PyTorch on a CPU."""
        if self._reads_for_free(phi) and phi.dtype == torch.float32:
            return torch.from_numpy(phi.detach().numpy() >= level.detach().numpy())
        return phi >= level

    def count_true(self, condition: Tensor) -> Tensor:
        if self._reads_for_free(condition):
            number = float(np.count_nonzero(condition.numpy()))
            return torch.tensor(number, dtype=torch.float32, device="cpu")
        return super().count_true(condition)

    def log_penalty(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        compensation: Tensor | None,
        weight: Any = 1.0,
    ) -> Tensor:
        """Of the selected only: the logarithm of all would take longer than the rest.

        Autograd keeps their indices and deviations, not `z`, which a module after this
        one may change in place.
        """
        if not self._reads_for_free(z):
            return super().log_penalty(z, selected, mean, compensation, weight)
        indices = torch.from_numpy(np.flatnonzero(selected.numpy()))
        deviation = z.reshape(-1).index_select(0, indices).to(torch.float32)
        for part in (mean, compensation):
            if part is not None:
                part = part.detach().expand(z.shape).reshape(-1)
                deviation = deviation - part.index_select(0, indices)
        logarithm = deviation.abs().clamp_min(SMALLEST_DEVIATION).log()
        return 2.0 * logarithm.sum() / max(len(indices), 1) * weight


def _compensations_are_small(statistics: Statistics) -> bool:
    """Whether deviations from `mean` alone show no difference."""
    compensation, variance = statistics.mean_compensation, statistics.variance
    return not bool((compensation.abs() > variance.sqrt() * _NEGLIGIBLE).any())
