"""What PyTorch does otherwise, eager on a CPU and on an accelerator.

An accelerator must never be read from: it would wait for all that is queued. A kernel
costs more than what it calculates on statistics, so they take few. On a CPU, reading is
free, and a pass over the activations that can be left out is the gain.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import torch

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend import replicas
from keras_mono.backend.reference import (
    LARGEST_COUNTER,
    LARGEST_ENTRY,
    SMALLEST_DENOMINATOR,
    SMALLEST_DEVIATION,
    Reference,
)
from keras_mono.backend.torch_constants import constant, exponents, on_device_of
from keras_mono.backend.torch_penalties import MeanLogarithm, MeanPhi
from keras_mono.backend.torch_scale_invariant import Along, Deactivate, Pull
from keras_mono.backend.torch_sums import compiled_moments, compiled_sums_over
from keras_mono.backend.types import BatchMoments, Statistics
from keras_mono.backend.xla import OUTWEIGHED

_NEARLY_ONE = 1.0 - 2.0**-23
_JUST_ABOVE_ONE = 1.0 + 2.0**-22
# Standard deviations by which a compensation may be left out of a deviation.
_NEGLIGIBLE = 1e-4


def chosen(form: str) -> Reference:
    """The form that `KERAS_MONO_BACKEND` names; the fastest if it names none."""
    forms = {"reference": TorchReference, "accelerator": Torch, "": TorchOnCpu}
    if form not in forms:
        raise ValueError(
            f"KERAS_MONO_BACKEND must be one of {sorted(forms)}. Received: {form!r}."
        )
    return forms[form]()


class TorchReference(Reference):
    """The definition, with what is not arithmetic."""

    def device_of(self, variable: keras.Variable) -> AbstractContextManager[Any]:
        return on_device_of(variable.value)

    def max_over(self, x: Tensor, axes: Any) -> Tensor:
        if x.numel():
            return x.amax(axes, keepdim=True)  # `ops.max` cannot be compiled
        return x.sum(axes, keepdim=True)

    def where(self, condition: Tensor, yes: Any, no: Any) -> Tensor:
        return torch.where(condition, yes, no)

    def clip(self, x: Tensor, low: float | None, high: float | None = None) -> Tensor:
        return torch.clamp(x, low, high)

    def cond(
        self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]
    ) -> Any:
        """In a compiled graph as a branch of it; `yes` and `no` return one tensor."""
        if isinstance(condition, torch.Tensor):
            if self.is_compiling():
                return torch.cond(condition, yes, lambda: no().clone(), ())
            if self.is_transformed():  # it has no value
                return torch.where(condition, yes(), no())
        return yes() if condition else no()

    def replace_by(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        gradient: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> Tensor:
        """Keras' own does not work within `torch.func`."""
        return _ReplaceBy.apply(z, selected, mean.to(z.dtype), gradient, *tensors)

    def replaced(self, state: Tensor, names: Sequence[str], **values: Any) -> Tensor:
        """In one kernel: of parts that are joined the compiler writes one each."""
        values = {
            name: constant(x, state.device) if isinstance(x, float) else x
            for name, x in values.items()
        }
        if not self.is_compiling():
            return torch.stack([values.get(n, state[i]) for i, n in enumerate(names)])
        index = torch.arange(len(names), device=state.device)
        for name, value in values.items():
            state = torch.where(index == names.index(name), value, state)
        return state

    def num_replicas(self) -> int:
        """Processes of the layer's group, or as Keras' distribution has it."""
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            return 1
        if replicas.is_alone():
            return 1
        if replicas.process_group() is None and _keras_shards_arrays():
            return 1
        return int(distributed.get_world_size(_process_group()))

    def replica_index(self) -> int:
        if self.num_replicas() == 1:
            return 0
        return int(torch.distributed.get_rank(_process_group()))

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        if self.num_replicas() == 1:
            return x
        x = x.detach().contiguous().clone()
        torch.distributed.all_reduce(x, group=_process_group())
        return x

    def is_compiling(self) -> bool:
        return bool(torch.compiler.is_compiling())

    def is_transformed(self) -> bool:
        return not self.is_compiling() and _has_transform()

    def variables_are_parameters(self) -> bool:
        return True

    def is_foreign_module(self, x: Any) -> bool:
        return isinstance(x, torch.nn.Module) and not isinstance(x, keras.layers.Layer)

    def random_state(self) -> Callable[[], None]:
        """Keras' dropout takes PyTorch's own random numbers."""
        state = torch.get_rng_state()
        on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

        def restore() -> None:
            torch.set_rng_state(state)
            torch.cuda.set_rng_state_all(on_gpus)

        return restore


class Torch(TorchReference):
    """Few kernels, and nothing is read: for an accelerator."""

    def has_plain_tensors(self) -> bool:
        """Whether tensors have values, on one device each: no `DTensor`, no tracer."""
        if self.is_compiling() or self.is_transformed():
            return False
        return not _keras_shards_arrays()

    def takes_gradients(self) -> bool:
        """Whether a gradient can be written out, as an `autograd.Function`."""
        return not (_has_transform() or _keras_shards_arrays())

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
        squared = self._squared_difference(deviation, rest)
        count = self.count_over(valid, axes)
        squares = squared.sum(axes, keepdim=True)
        total = deviation.sum(axes, keepdim=True)
        total = total.sub_(rest, alpha=z.numel() // max(rest.numel(), 1))
        entries = z.numel() if mask is None else mask.expand(z.shape).sum()
        skipped = entries - count.sum(dtype=torch.int64)
        moments = self._moments(count, total, squares, skipped, entries, statistics)
        return squared, moments._replace(anchor_compensation=rest, valid=valid)

    def _squared_difference(self, x: Tensor, y: Tensor) -> Tensor:
        """In one kernel."""
        if not self.has_plain_tensors():  # a `DTensor` has no such loss
            return (x - y).square_()
        return torch.ops.aten.mse_loss(x, y, 0)  # of each entry

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
        mean = statistics.mean
        count, near, rest, variance = compiled_moments(z - mean, valid, axes)
        anchor = mean + near
        offset = (near - (anchor - mean)) + rest
        skipped = torch.sum(self.num_entries(z, mask, axes) - count)
        entries = count.sum() + skipped
        return BatchMoments(count, anchor, offset, variance, skipped, entries)

    def valid(self, z: Tensor, mask: Tensor | None) -> Tensor:
        return z.abs() < (LARGEST_ENTRY if mask is None else mask * LARGEST_ENTRY)

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
        total = variance if self.has_plain_tensors() else variance * known
        denominator = torch.addcdiv(  # or NaN
            variance, total.sum(), known.sum(), value=variance_compensation
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
        if not self.has_plain_tensors():
            return self.total(condition.to(torch.float32))
        kept = getattr(condition, "_keras_mono_number_true", None)
        if kept is None or kept[0] != condition._version:
            kept = condition._version, condition.sum(dtype=torch.float32)
            condition._keras_mono_number_true = kept
        return kept[1]

    def replace(
        self, z: Tensor, selected: Tensor, mean: Tensor, strength: Any
    ) -> Tensor:
        if not self.has_plain_tensors():  # no autograd.Function there
            return super().replace(z, selected, mean, strength)
        return _Replace.apply(z, selected, mean.to(z.dtype), -strength)

    def log_penalty(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        compensation: Tensor | None,
        weight: Any = 1.0,
    ) -> Tensor:
        if not self.has_plain_tensors():
            # Copies: a graph changes the statistics before it computes the gradient.
            mean = mean.clone()
            compensation = None if compensation is None else compensation.clone()
            return super().log_penalty(z, selected, mean, compensation, weight)
        number = self.count_true(selected).clamp_min(1.0)
        if not isinstance(weight, float):
            number = number / weight
            weight = 1.0
        value, _ = MeanLogarithm.apply(z, selected, mean, compensation, number, weight)
        return value

    def mean_phi(
        self,
        z: Tensor,
        selected: Tensor,
        valid: Tensor,
        axes: Axes,
        batch: BatchMoments | None,
        definition: Callable[[Tensor], Tensor],
    ) -> Tensor:
        if not self.takes_gradients():
            return definition(z)
        number = self.count_true(selected).clamp_min(1.0)
        of = z, selected, number, valid, self._along(z, axes), batch, definition
        value, _ = MeanPhi.apply(*of)
        return value

    def pull(
        self,
        z: Tensor,
        selected: Tensor,
        valid: Tensor,
        weight: Any,
        axes: Axes,
        batch: BatchMoments | None,
        definition: Callable[..., tuple[Tensor, Tensor]],
    ) -> tuple[Tensor, Tensor]:
        if not self.takes_gradients():
            return definition(z, selected, valid, weight, axes, batch)
        number = self.count_true(selected).clamp_min(1.0)
        of = z, selected, number, valid, weight, self._along(z, axes), batch
        found = Pull.apply(*of)
        return found[0], found[1]

    def deactivate(
        self,
        z: Tensor,
        selected: Tensor,
        valid: Tensor,
        mean: Tensor,
        strength: Any,
        axes: Axes,
        batch: BatchMoments | None,
        definition: Callable[..., Tensor],
    ) -> Tensor:
        if not self.takes_gradients():
            return definition(z, selected, valid, mean, strength, axes, batch)
        of = z, selected, valid, mean, strength, self._along(z, axes), batch
        return Deactivate.apply(*of)

    def _along(self, z: Tensor, axes: Axes) -> Along:  # noqa: ARG002
        return Along(axes, in_one_kernel=True)

    # ---- State ----

    def follow(
        self, state: Tensor, number: Tensor, counted: Any, fraction: Any
    ) -> Tensor:
        """In place, in as few kernels as there are kinds of operations."""
        if not self.has_plain_tensors() or _is_stateless():
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
        if not self.has_plain_tensors() or _is_stateless():
            super().assign(variables, values)
            return
        pairs = [(x, y) for x, y in zip(held, values, strict=True) if x is not y]
        if not pairs:
            return
        with torch.no_grad():
            torch._foreach_copy_([x for x, _ in pairs], [y for _, y in pairs])

    def count_up(self, counter: Any, by: Any, after: Tensor) -> None:
        if not self.has_plain_tensors() or _is_stateless():
            # The compiler joins what reads `after` to what computes it.
            by = by * (after >= 0.0).to(torch.float32) if isinstance(by, int) else by
            super().count_up(counter, by, after)
            return
        value = counter.value
        with torch.no_grad():
            if isinstance(by, torch.Tensor):
                total = value + by.to(torch.int64)
                largest = constant(LARGEST_COUNTER, value.device)
                torch.minimum(total, largest, out=value)
            elif (now := self.known(counter)) is not None:
                now = min(now + by, LARGEST_COUNTER)
                value.fill_(now)
                self.remember(counter, now)

    def known(self, variable: Any, index: int | None = None) -> Any:
        """Read once, and again only if something else has changed it.

        Except through `.data`, of which PyTorch keeps no record.
        """
        value = variable.value
        if not self.has_plain_tensors() or _is_stateless() or value.is_inference():
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


class TorchOnCpu(Torch):
    """For tensors on a CPU where they have values; else as on an accelerator."""

    def known(self, variable: Any, index: int | None = None) -> Any:
        """Read anew: what is written through `.data` leaves no trace."""
        value = variable.value
        if not self._reads_for_free(value) or _is_stateless():
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
                none = torch.zeros((), device="cpu")
                moments = self._moments(
                    count, total, squares, none, z.numel(), statistics
                )
                rest = statistics.mean_compensation
                offset = moments.offset - rest
                return squared, moments._replace(
                    offset=offset, anchor_compensation=rest
                )
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
            return torch.tensor(number, device="cpu")
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


@torch.compiler.assume_constant_result
def _has_transform() -> bool:
    """Of `torch.func`, around the call or in the graph that is compiled."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _process_group() -> Any:
    """The layer's group, else the batch axis of Keras' distribution; None: all."""
    if replicas.process_group() is not None:
        return replicas.process_group()
    distribution = keras.distribution.distribution()
    mesh = _mesh_of(distribution)
    return None if mesh is None else mesh.get_group(distribution.batch_dim_name)


def _keras_shards_arrays() -> bool:
    """Whether Keras makes arrays `DTensor`s of the whole batch."""
    distribution = keras.distribution.distribution()
    parallel = isinstance(distribution, keras.distribution.ModelParallel)
    return parallel and _mesh_of(distribution) is not None


def _mesh_of(distribution: Any) -> Any:
    """PyTorch's mesh; None before Keras 3.16, which distributes nothing on PyTorch."""
    if distribution is None:
        return None
    return getattr(distribution.device_mesh, "backend_mesh", None)


def _compensations_are_small(statistics: Statistics) -> bool:
    """Whether deviations from `mean` alone show no difference."""
    compensation, variance = statistics.mean_compensation, statistics.variance
    return not bool((compensation.abs() > variance.sqrt() * _NEGLIGIBLE).any())


def _is_stateless() -> bool:
    """Whether variables keep their values, and changes are collected instead."""
    with keras.StatelessScope(initialize_variables=False) as scope:
        return scope.original_scope is not None


def _identity(value: Tensor) -> tuple[int, int, int]:
    return id(value), value._version, value.data_ptr()


class _Replace(torch.autograd.Function):
    """`Reference.replace` in two passes over the activations."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, selected: Tensor, mean: Tensor, factor: Any
    ) -> Tensor:
        kept = selected.logical_not()
        tensors = [kept, factor] if isinstance(factor, torch.Tensor) else [kept]
        ctx.save_for_backward(*tensors)
        ctx.factor = factor
        return torch.where(selected, mean, z)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        kept, *factor = ctx.saved_tensors
        if factor:
            scaled = factor[0].to(upstream.dtype) * upstream
            return torch.where(kept, upstream, scaled), None, None, None
        # `upstream` where `kept` is above 0, else times the factor.
        scaled = torch.ops.aten.leaky_relu_backward(upstream, kept, ctx.factor, False)
        return scaled, None, None, None


class _ReplaceBy(torch.autograd.Function):
    """`Reference.replace_by`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, selected: Tensor, mean: Tensor, *_: Any) -> Tensor:
        return torch.where(selected, mean, z)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG004
        _, _, _, ctx.gradient, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        with on_device_of(upstream):
            found = ctx.gradient(upstream, *tensors)
        return found, None, None, None, *[None] * len(tensors)
