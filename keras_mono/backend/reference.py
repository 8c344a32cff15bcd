"""The method in `keras.ops` alone: the definition that every backend must equal.

Every function that is allowed to differ by backend or device is a method of
`Reference`. `torch/`, `jax.py` and `tensorflow.py` override what they do otherwise.

Axes: `axes` are the axes that statistics reduce over; statistics have size 1 there.
`z` is float32 without gradient unless a docstring says otherwise. `mask` is None or
boolean, broadcasts against `z`, and is True where an entry counts.
"""
# ruff: noqa: ARG002 - a backend may need arguments that the definition does not

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.types import BatchMoments, Statistics, ThresholdState

# Entries of this size are skipped like infinity: the sum of the squares of many of them
# would overflow float32.
LARGEST_ENTRY = 2.0**55  # 3.6e16
SMALLEST_PHI = 1.2e-38  # smallest normal float32; φ below it is 0, and never selected
SMALLEST_DENOMINATOR = 1e-37  # its inverse is finite in float32
SMALLEST_DEVIATION = 1e-18  # 1 / its square is finite in float32
# A neuron whose standard deviation is below this share of its mean is constant: what
# remains of float32 there is rounding.
CONSTANT = 2.0**-22
# The same share of a mean that was taken out of it: a sum of many is rounded.
CONSTANT_AWAY = 2.0**-17
ROUNDING = 1e-4  # share of a direction that rounding may have left
LARGEST_COUNTER = 2**31 - 1
LARGEST_THRESHOLD = 1e30  # of τ, which then selects nothing until the next search
GAIN = 0.012  # relative move of τ per relative error of the selected fraction


def growth(fraction: float) -> float:
    """What τ is multiplied by, to the power of (selected fraction - fraction).

    No batch can move ln τ by more than 1.
    """
    return math.exp(min(GAIN, fraction) / fraction)


class Reference:
    """The interface between the method and the backends, with its definition."""

    # ---- Statistics (MEmeL, Lemma 3.2 and Alg. 1) ----

    def measure(
        self,
        z: Tensor,
        mask: Tensor | None,
        statistics: Statistics,
        axes: Axes,
        has_history: bool | None = None,
    ) -> tuple[Tensor, BatchMoments]:
        """Squared deviations from the running mean, and the moments of the batch.

        The squared deviations have the shape of `z` and are 0 at entries that are not
        valid. `has_history` is True if the running means can be taken to be near the
        batch, None if that is not known without waiting for the device.
        """
        valid = self.valid(z, mask)
        deviation = self.deviation(z, valid, statistics)
        moments = self.moments(z, mask, deviation, valid, statistics, axes)
        return ops.square(deviation), moments

    def valid(self, z: Tensor, mask: Tensor | None) -> Tensor:
        """True at the entries that count: finite, not too large, not masked."""
        valid = ops.abs(z) < LARGEST_ENTRY
        return valid if mask is None else ops.logical_and(valid, mask)

    def deviation(self, z: Tensor, valid: Tensor, statistics: Statistics) -> Tensor:
        """`z` minus the running mean; 0 at entries that are not valid."""
        deviation = (z - statistics.mean) - statistics.mean_compensation
        return self.where(valid, deviation, 0.0)

    def moments(
        self,
        z: Tensor,
        mask: Tensor | None,
        deviation: Tensor,
        valid: Tensor,
        statistics: Statistics,
        axes: Axes,
    ) -> BatchMoments:
        """Moments in two passes: E[x²] - E[x]² would lose digits far from the mean."""
        count, total = self.sums_over(axes, valid, deviation)
        skipped = self.num_entries(z, mask, axes) - count
        count, total, skipped = self.all_reduce_sums(count, total, skipped)
        num_valid = self.clip(count, 1.0)
        anchor = statistics.mean + total / num_valid
        centered = self.where(valid, z - anchor, 0.0)
        sums = self.sum_and_squares(centered, axes)
        offset, squares = self.all_reduce_sums(*sums)
        offset = offset / num_valid
        variance = self.clip(squares / num_valid - ops.square(offset), 0.0)
        skipped = ops.sum(skipped)
        num_entries = ops.sum(count) + skipped
        return BatchMoments(count, anchor, offset, variance, skipped, num_entries)

    def merge(
        self, statistics: Statistics, batch: BatchMoments, forget_steps: int | None
    ) -> Statistics:
        """The statistics after a batch (Lemma 3.2), with forgetting (Alg. 1).

        With m earlier values and b new ones, δ the difference of their means:
        `μ ← μ + b/(m+b) · δ` and
        `S² ← ((m-1)·S² + b·v_b + m·b/(m+b) · δ²) / (m+b-1)`.
        The history weighs at most `forget_steps` times the neuron's largest batch.
        """
        b = batch.count
        largest = ops.maximum(statistics.max_batch_count, b)
        m = statistics.count
        if forget_steps is not None:  # only new values push old ones out
            m = ops.where(b > 0.0, ops.minimum(m, largest * forget_steps), m)
        # From the anchor, near which nothing large cancels.
        old = (statistics.mean - batch.anchor) + statistics.mean_compensation
        old = self.where(m > 0.0, old, 0.0)
        count, change, variance = self.union(
            m, statistics.variance, b, batch.offset - old, batch.variance
        )
        offset = old + change
        mean = batch.anchor + offset
        compensation = offset - (mean - batch.anchor)
        return Statistics(mean, compensation, variance, count, largest)

    def union(
        self, m: Tensor, variance: Tensor, b: Tensor, delta: Tensor, batch_variance: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Count, change of the mean, and variance of m earlier and b new values.

        `variance` is unbiased and 0 where m < 2, `batch_variance` biased. Counts go in
        as shares: times a variance they might overflow.
        """
        count = m + b
        num = self.clip(count, 1.0)
        divisor = self.clip(count - 1.0, 1.0)
        old = self.clip(m - 1.0, 0.0) / divisor
        new = (b / divisor) * (batch_variance + (m / num) * delta * delta)
        return count, (b / num) * delta, old * variance + new

    def precision(self, statistics: Statistics, variance_compensation: float) -> Tensor:
        """1 / (S² + ε · average S²) of each neuron (Alg. 2).

        0 for neurons with fewer than two values, and where the denominator is 0.
        """
        known = statistics.count >= 2.0
        num_known = self.clip(ops.sum(ops.cast(known, "float32")), 1.0)
        average = ops.sum(statistics.variance) / num_known
        denominator = statistics.variance + variance_compensation * average
        return self.where(known, self.inverse(denominator), 0.0)

    def inverse(self, denominator: Tensor) -> Tensor:
        """1 / denominator, and 0 where that would not be finite."""
        positive = denominator > SMALLEST_DENOMINATOR
        return self.where(positive, 1.0 / self.where(positive, denominator, 1.0), 0.0)

    def phi(self, squared: Tensor, precision: Tensor) -> Tensor:
        """φ = (z - μ)² / (S² + ε · average S²) (Def. 3.1, eq. 7).

        May overwrite `squared`.
        """
        return squared * precision

    # ---- Selection ----

    def at_least(self, phi: Tensor, level: Tensor) -> Tensor:
        """φ ≥ level; the level is above 0."""
        return phi >= level

    def count_true(self, condition: Tensor) -> Tensor:
        """How many entries are True on this replica: float32 scalar."""
        return ops.cast(ops.sum(ops.cast(condition, "int32")), "float32")

    def count_selected(self, selected: Tensor, state: Tensor) -> Tensor:
        """`count_true`, as a scalar or once for each entry of a selector's state."""
        return self.count_true(selected)

    def max_over(self, x: Tensor, axes: Any) -> Tensor:
        """Largest value along axes, which are kept, of values ≥ 0; 0 of none."""
        return ops.max(x, axis=axes, keepdims=True, initial=0.0)

    def entry(self, values: Tensor, index: Any) -> Tensor:
        """The entry of a vector at a whole number from 0 on, of any dtype."""
        if isinstance(index, int):
            return values[index]
        return ops.take(values, ops.cast(index, "int32"))

    def follow(
        self, state: Tensor, number: Tensor, counted: Any, fraction: Any
    ) -> Tensor:
        """A moving threshold's state after a batch of which τ selected `number`.

        `τ ← τ · exp(gain · (selected fraction / f - 1))`. May overwrite `state`. Of a
        batch in which nothing counts, `counted` is 1 and `fraction` 0.
        """
        before = ThresholdState.of(state)
        selected = number / counted
        error = selected - fraction
        return self.replaced(
            state,
            ThresholdState._fields,
            threshold=before.threshold * ops.power(before.growth, error),
            selected_fraction=selected,
            num_batches=before.num_batches + 1.0,
            error_sum=before.error_sum + error,
            square_sum=before.square_sum + error * error,
        )

    def replaced(self, state: Tensor, names: Sequence[str], **values: Any) -> Tensor:
        """A selector's state, a float32 vector, with other values of these names.

        In few parts: a compiler writes a kernel for each where there are many.
        """
        parts, end = [], 0
        for i, name in enumerate(names):
            if name in values:
                parts += [state[end:i]] * (i > end)
                parts.append(ops.reshape(ops.cast(values[name], "float32"), (1,)))
                end = i + 1
        parts += [state[end:]] * (end < len(names))
        return ops.concatenate(parts)

    def beside(self, x: Any, scalar: Any) -> Any:
        """A condition or a number, which a compiler is to compute where `scalar` is."""
        return x

    def computed_once(self, phi: Tensor) -> Tensor:
        """`phi`, where a compiler might compute it twice with different rounding."""
        return phi

    # ---- What is done to the selected (with gradient) ----

    def replace(
        self, z: Tensor, selected: Tensor, mean: Tensor, strength: Any
    ) -> Tensor:
        """`-Δ·z + ng(mean + Δ·z)` where selected, `z` elsewhere (MEmeL, 3.3).

        Written so that the value is the mean exactly; the gradient there is -Δ.
        """
        z = ops.convert_to_tensor(z)
        mean = ops.stop_gradient(ops.cast(mean, z.dtype))
        strength = ops.stop_gradient(ops.cast(strength, z.dtype))
        return ops.where(selected, mean - strength * (z - ops.stop_gradient(z)), z)

    def replace_by(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        gradient: Callable[..., Tensor],
        *tensors: Tensor,
    ) -> Tensor:
        """The value of `replace`, with `gradient(upstream, *tensors)` for `z`."""
        value = ops.stop_gradient(ops.where(selected, ops.cast(mean, z.dtype), z))

        # What the gradient needs is passed on: JAX would leak what it closed over.
        @ops.custom_gradient
        def replaced(_: Tensor, value: Tensor, *tensors: Tensor) -> Any:
            def backward(*args: Tensor, upstream: Any = None) -> tuple[Tensor, ...]:
                if upstream is None:  # PyTorch passes what `replaced` got before it
                    (upstream,) = args
                nothing = [ops.zeros_like(x) for x in (value, *tensors)]
                return gradient(upstream, *tensors), *nothing

            return value, backward

        return replaced(z, value, *tensors)

    def log_penalty(
        self,
        z: Tensor,
        selected: Tensor,
        mean: Tensor,
        compensation: Tensor | None,
        weight: Any = 1.0,
    ) -> Tensor:
        """Mean of `log (z - mean)²` over the selected (L2E, L_MS); 0 of none.

        Times `weight`, a number or a scalar without gradient.
        """
        deviation = ops.cast(z, "float32") - ops.stop_gradient(mean)
        if compensation is not None:
            deviation = deviation - ops.stop_gradient(compensation)
        # log 1 = 0 where nothing is selected; never NaN or infinite.
        distance = ops.abs(ops.where(selected, deviation, 1.0))
        logarithm = ops.log(self.clip(distance, SMALLEST_DEVIATION))
        number = self.clip(self.count_true(selected), 1.0)
        return 2.0 * self.total(logarithm) / number * weight

    # `definition` is a function of `keras_mono.ops`, `of` its arguments. A backend may
    # have a shorter way to its gradient.

    def mean_phi(
        self, definition: Callable[[Tensor], Tensor], z: Tensor, *of: Any
    ) -> Tensor:
        """`definition(z)`; `of`: selected, valid, axes, moments if known."""
        return definition(z)

    def pull(self, definition: Callable[..., Any], *of: Any) -> tuple[Tensor, Tensor]:
        """`definition(*of)`, by `pull_as_defined`."""
        return definition(*of)

    def deactivate(self, definition: Callable[..., Any], *of: Any) -> Tensor:
        """`definition(*of)`, by `deactivate_as_defined`."""
        return definition(*of)

    # ---- Reductions, branches, replicas ----

    def where(self, condition: Tensor, yes: Any, no: Any) -> Tensor:
        """`ops.where`; of two numbers float32."""
        if not (ops.is_tensor(yes) or ops.is_tensor(no)):
            no = ops.convert_to_tensor(no, "float32")  # else of Keras' `floatx`
        return ops.where(condition, yes, no)

    def clip(self, x: Tensor, low: float | None, high: float | None = None) -> Tensor:
        """`x` between numbers, of which one may be None."""
        if low is not None:
            x = ops.maximum(x, low)
        return x if high is None else ops.minimum(x, high)

    def sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        return ops.sum(x, axis=axes, keepdims=True)

    def quick_sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        """`sum_over` for what is computed anew in each batch, of fewer digits."""
        return ops.sum(x, axis=axes, keepdims=True)

    def total(self, x: Tensor) -> Tensor:
        """Sum of all activations."""
        return ops.sum(x)

    def count_over(self, valid: Tensor, axes: Axes) -> Tensor:
        """How many are True, float32, along axes that are kept."""
        return self.sum_over(ops.cast(valid, "float32"), axes)

    def sums_over(self, axes: Axes, *xs: Tensor) -> Sequence[Tensor]:
        """`sum_over` of floats and `count_over` of booleans of one shape."""
        return [
            self.count_over(x, axes)
            if keras.backend.standardize_dtype(x.dtype) == "bool"
            else self.sum_over(x, axes)
            for x in xs
        ]

    def sum_and_squares(self, x: Tensor, axes: Axes) -> Sequence[Tensor]:
        """`sum_over` of `x` and of its squares."""
        return self.sums_over(axes, x, ops.square(x))

    def num_entries(self, z: Tensor, mask: Tensor | None, axes: Axes) -> Any:
        """How many entries of each neuron are not masked; a number or a tensor."""
        shape = ops.shape(z)
        if mask is None:
            return _product([shape[i] for i in axes])
        repeats = _product([shape[i] for i in axes if mask.shape[i] == 1])
        return ops.sum(ops.cast(mask, "float32"), axis=axes, keepdims=True) * repeats

    def cond(
        self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]
    ) -> Any:
        """`yes()` or `no()`; a Python bool decides at once."""
        if isinstance(condition, bool):
            return yes() if condition else no()
        return ops.cond(condition, yes, no)

    def num_replicas(self) -> int:
        """How many replicas run this very call side by side; 1 where there are none."""
        return 1

    def replica_index(self) -> Any:
        """Which of the replicas this is, from 0."""
        return 0

    def all_reduce_sum(self, x: Tensor) -> Tensor:
        """Sum of `x` over the replicas, the same on all of them; without gradient.

        Every replica has to call it, with the same shape: so never in a branch that
        replicas take by what they alone see, and on TensorFlow in no branch at all.
        """
        return x

    def all_reduce_sums(self, *sums: Tensor) -> Sequence[Tensor]:
        """`all_reduce_sum` of tensors that broadcast to one shape, in one message."""
        if self.num_replicas() == 1:
            return sums
        like = sums[0]
        both = ops.stack([x + ops.zeros_like(like) for x in sums])
        both = self.all_reduce_sum(both)
        return [both[i] for i in range(len(sums))]

    def lerp(self, old: Tensor, new: Tensor, weight: Any) -> Tensor:
        """`old` where the weight is 0, `new` where it is 1."""
        return old + weight * (new - old)

    def all_reduce_mean(self, x: Tensor) -> Tensor:
        """Mean of `x` over the replicas."""
        number = self.num_replicas()
        return x if number == 1 else self.all_reduce_sum(x) / number

    # ---- State ----

    def assign(self, variables: Sequence[Any], values: Sequence[Tensor]) -> None:
        """Put values into variables."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def count_up(self, counter: Any, by: Any, after: Sequence[Tensor]) -> None:
        """Add to an int32 variable, which stays at its largest value.

        By a whole number of any dtype. `after` are scalars of the batch that a compiler
        may compute in the same kernel.
        """
        if not isinstance(by, int):
            by = ops.cast(ops.minimum(by, float(2**31 - 128)), "int32")
        value = counter.value
        counter.assign(value + ops.minimum(by, LARGEST_COUNTER - value))

    def held(self, x: Tensor) -> Tensor:
        """A variable's value for a gradient, which may come after it has changed."""
        return x

    def known(self, variable: Any, index: int | None = None) -> Any:
        """The number in a variable, if reading it makes nothing wait; else None.

        `index` says which entry, if the variable has several.
        """
        return None

    def remember(self, variable: Any, number: float) -> None:
        """Note what `known` is to return until the variable changes."""

    # ---- What the backend is doing ----

    def device_of(self, variable: keras.Variable) -> AbstractContextManager[Any]:
        """Within it Keras computes where the variable is."""
        return nullcontext()

    def is_compiling(self) -> bool:
        """True while PyTorch's compiler or exporter traces."""
        return False

    def is_transformed(self) -> bool:
        """True inside `torch.func`, where tensors have no values."""
        return False

    def is_held_by_fit(self, variable: keras.Variable) -> bool:
        """True while a running `fit` keeps the variable's value elsewhere."""
        return False

    def variables_are_parameters(self) -> bool:
        """Whether all of a layer's variables become parameters that loading sets."""
        return False

    def is_foreign_module(self, x: Any) -> bool:
        """True for a module of the backend's own that is no Keras layer."""
        return False

    def mask_for_loop(self, mask: Tensor, state: Tensor) -> Tensor:
        """A mask as Keras' loop over time takes it."""
        return mask

    def random_state(self) -> Callable[[], None]:
        """A function that restores the backend's random numbers as they are now."""
        return lambda: None


def _product(sizes: list[Any]) -> Any:
    """Product of sizes as a float; a tensor where a size is known at run time only."""
    product = math.prod([n for n in sizes if isinstance(n, int)]) * 1.0
    for n in sizes:
        if not isinstance(n, int):
            product = product * ops.cast(n, "float32")
    return product
