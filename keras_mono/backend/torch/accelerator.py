"""Few kernels, and nothing is read.

An accelerator must never be read from: it would wait for all that is queued. A kernel
costs more than what it calculates on statistics, so they take few.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.reference import (
    LARGEST_COUNTER,
    LARGEST_ENTRY,
    SMALLEST_DENOMINATOR,
)
from keras_mono.backend.torch.constants import constant, exponents
from keras_mono.backend.torch.definition import TorchDefinition, has_transform
from keras_mono.backend.torch.distribution import keras_shards_arrays
from keras_mono.backend.torch.penalties import MeanLogarithm, MeanPhi
from keras_mono.backend.torch.replacement import Replace
from keras_mono.backend.torch.scale_invariant import Along, Deactivate, Pull
from keras_mono.backend.torch.sums import (
    compiled_moments,
    compiled_sums_over,
    compiled_totals,
    skipped_by_rows,
)
from keras_mono.backend.types import BatchMoments, Statistics

_NEARLY_ONE = 1.0 - 2.0**-23
_JUST_ABOVE_ONE = 1.0 + 2.0**-22


class TorchOnAccelerator(TorchDefinition):
    """Few kernels, and nothing is read: for an accelerator."""

    def has_plain_tensors(self) -> bool:
        """Whether tensors have values, on one device each: no `DTensor`, no tracer."""
        if self.is_compiling() or self.is_transformed():
            return False
        return not keras_shards_arrays()

    def takes_gradients(self) -> bool:
        """Whether a gradient can be written out, as an `autograd.Function`."""
        if self.num_replicas() > 1:  # the functions send no messages
            return False
        return not (has_transform() or keras_shards_arrays())

    # ---- Statistics ----

    def measure(
        self,
        z: Tensor,
        mask: Tensor | None,
        statistics: Statistics,
        axes: Axes,
        has_history: bool | None = None,
    ) -> tuple[Tensor, BatchMoments]:
        """In one pass, unless neurons may be without a history.

        A neuron whose first value comes later all the same loses as many digits of its
        first variance as (mean / standard deviation)² has.
        """
        if not has_history:
            squared, moments = super().measure(z, mask, statistics, axes)
            if mask is None and self.num_replicas() == 1:
                moments = moments._replace(num_entries=z.numel())
            return squared, moments
        valid = self.valid(z, mask)
        rest = statistics.mean_compensation
        deviation = torch.where(valid, z - statistics.mean, rest)  # from the mean alone
        if self.has_plain_tensors():
            squared = torch.ops.aten.mse_loss(deviation, rest, 0)  # of each entry
        else:  # a `DTensor` has no such loss
            squared = (deviation - rest).square_()
        count = self.count_over(valid, axes)
        squares = squared.sum(axes, keepdim=True)
        total = deviation.sum(axes, keepdim=True)
        total = total.sub_(rest, alpha=z.numel() // max(rest.numel(), 1))
        entries = z.numel() if mask is None else mask.expand(z.shape).sum()
        skipped = entries - count.sum(dtype=torch.int64)
        moments = self._moments(count, total, squares, skipped, entries, statistics)
        return squared, moments._replace(anchor_compensation=rest, valid=valid)

    def _moments(
        self,
        count: Tensor,
        total: Tensor,
        squares: Tensor,
        skipped: Tensor,
        num_entries: Any,
        statistics: Statistics,
    ) -> BatchMoments:
        """From sums of deviations, as if from `statistics.mean`."""
        if self.num_replicas() > 1:
            count, total, squares, skipped = self.all_reduce_sums(
                count, total, squares, skipped.to(torch.float32)
            )
            skipped = skipped.flatten()[0]
            num_entries = count.sum() + skipped
        num_valid = count.clamp_min(1.0)
        offset, variance = self._quotients([total, squares], [num_valid, num_valid])
        # 0 for one value, whatever rounding left.
        variance.addcmul_(offset, offset, value=-_JUST_ABOVE_ONE).clamp_min_(0.0)
        mean = statistics.mean
        return BatchMoments(count, mean, offset, variance, skipped, num_entries)

    def _quotients(
        self, numerators: Sequence[Tensor], denominators: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """All in one kernel; they have one shape."""
        if not self.has_plain_tensors():
            return [x / y for x, y in zip(numerators, denominators, strict=True)]
        return torch._foreach_div(numerators, denominators)

    def moments(
        self,
        z: Tensor,
        mask: Tensor | None,
        deviation: Tensor,
        valid: Tensor,
        statistics: Statistics,
        axes: Axes,
    ) -> BatchMoments:
        if not self.is_compiling() or self.num_replicas() > 1:
            return super().moments(z, mask, deviation, valid, statistics, axes)
        count, anchor, offset, variance = compiled_moments(z, valid, axes)
        skipped = torch.sum(self.num_entries(z, mask, axes) - count)
        entries = z.numel()
        if mask is not None:
            repeats = entries / max(mask.numel(), 1)
            entries = self.total(mask.to(torch.float32)) * repeats
        by_rows = skipped_by_rows(valid, mask)
        of = count, anchor, offset, variance, skipped, entries
        return BatchMoments(*of, skipped_by_rows=by_rows)

    def valid(self, z: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return z.abs() < LARGEST_ENTRY
        # Not `mask * LARGEST_ENTRY`, which has PyTorch's default dtype.
        largest, none = constant(LARGEST_ENTRY, z.device), constant(0.0, z.device)
        return z.abs() < torch.where(mask, largest, none)

    def count_over(self, valid: Tensor, axes: Axes) -> Tensor:
        return valid.sum(axes, keepdim=True, dtype=torch.float32)

    def sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        return x.sum(axes, keepdim=True)

    def sums_over(self, axes: Axes, *xs: Tensor) -> Sequence[Tensor]:
        if self.is_compiling():
            return compiled_sums_over(axes, *xs)
        return super().sums_over(axes, *xs)

    def max_over(self, x: Tensor, axes: Any) -> Tensor:
        """Compiled along the last axis first: the compiler joins that to φ."""
        if self.is_compiling() and x.numel():
            for axis in sorted(axes, reverse=True):
                x = x.amax(axis, keepdim=True)
            return x
        return super().max_over(x, axes)

    def total(self, x: Tensor) -> Tensor:
        """Along the last axis first: the compiler joins that to what computes `x`."""
        return x.sum(-1).sum()

    def merge(
        self, statistics: Statistics, batch: BatchMoments, forget_steps: int | None
    ) -> Statistics:
        """In few kernels.

        The weight of the batch's variance is b / (m+b-1). That of the old one is the
        rest, also where m is 0 and so is the old variance. The 1 is less by its last
        digit, so that no divisor is 0.
        """
        b, m = batch.count, statistics.count
        largest = torch.maximum(statistics.max_batch_count, b)
        if forget_steps is not None:
            # Without new values the limit is infinite, or NaN, which `fmin` leaves out.
            zero, some = constant(0.0, b.device), b.clamp_max(1.0)
            limit = torch.addcdiv(zero, largest, some, value=forget_steps)
            m = torch.fmin(m, limit)
        old, delta = statistics.mean_compensation, batch.offset
        if batch.anchor_compensation is not old:
            old = ((statistics.mean - batch.anchor) + old) - batch.anchor_compensation
            old *= m > 0.0
            delta = batch.offset - old
        count = m + b
        num, less = count.clamp_min(1.0), count - _NEARLY_ONE
        history, new, weight = self._quotients([m, b, b], [num, num, less])
        variance = torch.addcmul(batch.variance, history * delta, delta)
        variance = torch.lerp(statistics.variance, variance, weight)
        offset = torch.addcmul(old, new, delta)
        mean = batch.anchor + offset
        compensation = offset - (mean - batch.anchor)
        return Statistics(mean, compensation, variance, count, largest)

    def precision(self, statistics: Statistics, variance_compensation: float) -> Tensor:
        """Where nothing is known: 1 / inf = 0."""
        known = statistics.count >= 2.0
        variance = statistics.variance
        if self.has_plain_tensors():
            total, number = variance.sum(), known.sum()
        else:
            sums = variance * known, known.to(torch.float32)
            total, number = compiled_totals(*sums)
        denominator = torch.addcdiv(  # or NaN
            variance, total, number, value=variance_compensation
        )
        infinity = constant(torch.inf, denominator.device)
        denominator = torch.where(known, denominator, infinity)
        denominator = torch.threshold_(denominator, SMALLEST_DENOMINATOR, torch.inf)
        return denominator.reciprocal_()

    def phi(self, squared: Tensor, precision: Tensor) -> Tensor:
        return squared.mul_(precision)

    # ---- Selection and what is done to the selected ----

    def where(self, condition: Tensor, yes: Any, no: Any) -> Tensor:
        """Numbers are kept on the device: each would start a kernel."""
        device = condition.device
        yes, no = (
            x if isinstance(x, torch.Tensor) else constant(float(x), device)
            for x in (yes, no)
        )
        return torch.where(condition, yes, no)

    def entry(self, values: Tensor, index: Any) -> Tensor:
        if isinstance(index, int):
            return values[index]
        # `take` cannot be compiled.
        return values.index_select(0, index.to(torch.int64).reshape(1))[0]

    def count_true(self, condition: Tensor) -> Tensor:
        """Once of each tensor: selector and penalty ask for the same."""
        if not self.has_plain_tensors() or condition.is_inference():
            return self.total(condition.to(torch.float32))
        kept = getattr(condition, "_keras_mono_number_true", None)
        if kept is None or kept[0] != condition._version:
            kept = condition._version, condition.sum(dtype=torch.float32)
            condition._keras_mono_number_true = kept
        return kept[1]

    def count_selected(self, selected: Tensor, state: Tensor) -> Tensor:
        """Compiled, each entry of the state counts: in the kernel that writes it."""
        if not self.is_compiling():
            return super().count_selected(selected, state)
        if not selected.numel():  # another replica's may not be empty
            return torch.zeros_like(state)
        rows = selected.to(torch.float32).sum(-1).flatten()  # as `count_true` does
        return rows.expand(len(state), -1).sum(1)

    def beside(self, x: Any, scalar: Any) -> Any:
        if not self.is_compiling() or isinstance(scalar, float | int):
            return x
        joined = x * _one_beside(scalar)
        return joined if x.dtype.is_floating_point else joined > 0

    def replace(
        self, z: Tensor, selected: Tensor, mean: Tensor, strength: Any
    ) -> Tensor:
        if not self.has_plain_tensors():  # no autograd.Function there
            return super().replace(z, selected, mean, strength)
        return Replace.apply(z, selected, mean.to(z.dtype), -strength)

    def log_penalty(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        compensation: Tensor | None,
        weight: Any = 1.0,
    ) -> Tensor:
        if not self.has_plain_tensors():
            return super().log_penalty(z, selected, mean, compensation, weight)
        number = self.count_true(selected).clamp_min(1.0)
        if not isinstance(weight, float):
            number = number / weight
            weight = 1.0
        value, _ = MeanLogarithm.apply(z, selected, mean, compensation, number, weight)
        return value

    def mean_phi(
        self, definition: Callable[[Tensor], Tensor], z: Tensor, *of: Any
    ) -> Tensor:
        if not self.takes_gradients():
            return definition(z)
        selected, valid, axes, batch = of
        number = self.count_true(selected).clamp_min(1.0)
        along = self._along(z, axes)
        return MeanPhi.apply(z, selected, number, valid, along, batch, definition)[0]

    def pull(self, definition: Callable[..., Any], *of: Any) -> tuple[Tensor, Tensor]:
        if not self.takes_gradients():
            return definition(*of)
        z, selected, valid, weight, axes, batch = of
        number = self.count_true(selected).clamp_min(1.0)
        along = self._along(z, axes)
        return Pull.apply(z, selected, number, valid, weight, along, batch)

    def deactivate(self, definition: Callable[..., Any], *of: Any) -> Tensor:
        if not self.takes_gradients():
            return definition(*of)
        z, selected, valid, mean, strength, axes, batch = of
        along = self._along(z, axes)
        return Deactivate.apply(z, selected, valid, mean, strength, along, batch)

    def _along(self, z: Tensor, axes: Axes) -> Along:  # noqa: ARG002
        return Along(axes, in_one_kernel=True)

    # ---- State ----

    def follow(
        self, state: Tensor, number: Tensor, counted: Any, fraction: Any
    ) -> Tensor:
        """In place, in as few kernels as there are kinds of operations."""
        if not self.has_plain_tensors() or is_stateless():
            return super().follow(state, number, counted, fraction)
        torch.div(number, counted, out=state[1])
        error = state[1] - fraction
        state[0].mul_(torch.pow(state[5], error))  # threshold by growth
        powers = exponents(error.device)
        state[2:5].add_(torch.pow(error, powers))  # number, and sums of error, error²
        return state

    def lerp(self, old: Tensor, new: Tensor, weight: Any) -> Tensor:
        return torch.lerp(old, new, weight)

    def assign(self, variables: Sequence[Any], values: Sequence[Tensor]) -> None:
        """In one kernel."""
        held = [variable.value for variable in variables]
        if not self.has_plain_tensors() or is_stateless():
            super().assign(variables, values)
            return
        pairs = [(x, y) for x, y in zip(held, values, strict=True) if x is not y]
        if not pairs:
            return
        with torch.no_grad():
            torch._foreach_copy_([x for x, _ in pairs], [y for _, y in pairs])

    def count_up(self, counter: Any, by: Any, after: Sequence[Tensor]) -> None:
        if not self.has_plain_tensors() or is_stateless():
            if isinstance(by, int):  # on two scalars Triton fails before 3.7
                by = by * _one_beside(after[0])
            super().count_up(counter, by, after)
            return
        value = counter.value
        with torch.no_grad():
            if isinstance(by, torch.Tensor):
                # Past the largest number it is negative, and then the largest.
                total = value.add_(by.to(torch.int64))
                torch.threshold_(total, -1, LARGEST_COUNTER)
            elif (now := self.known(counter)) is not None:
                now = min(now + by, LARGEST_COUNTER)
                value.fill_(now)
                self.remember(counter, now)

    def known(self, variable: Any, index: int | None = None) -> Any:
        """Read once, and again only if something else has changed it.

        Except through `.data`, of which PyTorch keeps no record.
        """
        value = variable.value
        if not self.has_plain_tensors() or is_stateless() or value.is_inference():
            return None
        seen = getattr(value, "_keras_mono_known", None)
        if seen is not None and seen[:3] == _identity(value):
            return seen[3]
        if value.is_meta and value._version <= 1:  # nothing was counted yet
            number = 0
        else:
            number = (value if index is None else value[index]).item()
        self.remember(variable, number)
        return number

    def remember(self, variable: Any, number: float) -> None:
        value = variable.value
        if not value.is_inference():  # no version tells whether it has changed
            value._keras_mono_known = (*_identity(value), number)


def _one_beside(scalar: Tensor) -> Tensor:
    """1.0: the compiler joins what reads `scalar` to what computes it."""
    return scalar.isnan().to(torch.float32).clamp_min(1.0)


def is_stateless() -> bool:
    """Whether variables keep their values, and changes are collected instead."""
    with keras.StatelessScope(initialize_variables=False) as scope:
        return scope.original_scope is not None


def _identity(value: Tensor) -> tuple[int, int, int]:
    return id(value), value._version, value.data_ptr()
