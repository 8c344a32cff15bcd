"""What JAX does otherwise."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend.xla import OnePass


class Jax(OnePass):
    """On a CPU, XLA adds up rows slowly, and may compute a value twice."""

    def sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        return _sum_by_halves(x) if _adds_rows(x, axes) else super().sum_over(x, axes)

    def quick_sum_over(self, x: Tensor, axes: Axes) -> Tensor:
        return self.sum_over(x, axes)

    def count_over(self, valid: Tensor, axes: Axes) -> Tensor:
        """A quarter as wide on the way where rows are added up."""
        if not _adds_rows(valid, axes) or valid.shape[0] > 1024:
            return super().count_over(valid, axes)
        total = 0.0
        for start in range(0, valid.shape[0], 64):  # a sum of 64 fits into int8
            block = ops.cast(valid[start : start + 64], "int8")
            total = total + ops.cast(_sum_by_halves(block), "float32")
        return total

    def sum_and_squares(self, x: Tensor, axes: Axes) -> Sequence[Tensor]:
        """Of halves that are squared: of squares that are halved XLA may keep all."""
        if not _adds_rows(x, axes) or x.shape[0] % 2:
            return super().sum_and_squares(x, axes)
        half = x.shape[0] // 2
        squares = ops.square(x[:half]) + ops.square(x[half:])
        return [self.sum_over(x, axes), self.sum_over(squares, axes)]

    def union(
        self, m: Tensor, variance: Tensor, b: Tensor, delta: Tensor, batch_variance: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Nothing new changes no bit: on a GPU XLA's x / x may be less than 1."""
        count, change, united = super().union(m, variance, b, delta, batch_variance)
        return count, change, jnp.where(b > 0.0, united, variance)

    def clip(self, x: Tensor, low: float | None, high: float | None = None) -> Tensor:
        """Not by `ops`, for which a number is bfloat16 if that is Keras' `floatx`."""
        if low is not None:
            x = jnp.maximum(x, low)
        return x if high is None else jnp.minimum(x, high)

    def computed_once(self, phi: Tensor) -> Tensor:
        """`phi`, which XLA may not compute a second time for another use of it.

        It does so to save memory traffic, and where it contracts a product and a sum it
        may round the second time differently: then no φ reaches the largest φ, and
        nothing is selected. Seen on a CPU behind an LSTM cell.
        """
        return jax.lax.platform_dependent(
            phi, cpu=_carried_by_a_loop, default=jax.lax.optimization_barrier
        )

    def cond(
        self, condition: Any, yes: Callable[[], Any], no: Callable[[], Any]
    ) -> Any:
        # Outside a compiled function JAX would compile what it is given anew each time,
        # as it is never the same two functions, and keep it.
        if isinstance(condition, jax.core.Tracer | keras.KerasTensor):
            return ops.cond(condition, yes, no)
        return yes() if condition else no()

    def is_held_by_fit(self, variable: keras.Variable) -> bool:
        try:  # no public method of Keras tells
            return variable.value is None
        except (TypeError, AttributeError):
            return True

    def mask_for_loop(self, mask: Tensor, state: Tensor) -> Tensor:
        """Keras takes every state for `(batch, units)` and fails on images.

        It leaves a mask of higher rank alone, and uses it rightly.
        """
        return ops.reshape(mask, (*ops.shape(mask), *[1] * (state.ndim - 1)))


def _carried_by_a_loop(phi: Tensor) -> Tensor:
    """What a loop carries is computed once, also if it makes no pass.

    XLA removes optimization barriers on a CPU before it fuses, and on a GPU after. A
    GPU would wait for the host at each loop.
    """
    first = ops.reshape(phi, (-1,))[:1]
    never = ops.sum(ops.cast(first != first, "int32"))  # φ is not NaN
    return ops.fori_loop(0, never, _add_one, phi)


def _add_one(_: Any, phi: Tensor) -> Tensor:
    return phi + 1.0  # a loop that changes nothing would be taken out


def _adds_rows(x: Tensor, axes: Axes) -> bool:
    """XLA on a CPU reduces axis 0 ten times slower than it adds halves.

    Halves of an array that lies on several devices would have to be sent around.
    """
    rows = x.shape[0]  # an expression where JAX traces for any number of samples
    on_one = keras.distribution.distribution() is None
    return on_one and axes == (0,) and isinstance(rows, int) and rows > 0


def _sum_by_halves(x: Tensor) -> Tensor:
    """Sum over axis 0, pairwise.

    Without a matrix product, which an accelerator might run in a lower precision.
    """
    rows, odd = x.shape[0], []
    while rows > 1:
        half = rows // 2
        if rows % 2:
            odd.append(x[rows - 1 :])
        x = x[:half] + x[half : 2 * half]
        rows = half
    for row in odd:
        x = x + row
    return x
