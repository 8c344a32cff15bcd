"""The scale-invariant penalty's gradient, as strong as a share of the loss's own.

The value is `z`. The gradient g that comes from behind becomes

`g + w · ‖s·g‖ / ‖s·p‖ · p`

with the gradient p of `scale_invariant_penalty(z, selected)`, the standard deviations s
of the neurons in this batch, and norms over all entries that count. So `w` has no unit:
measured in standard deviations, what is added is exactly w times as long as g. It
depends neither on the loss's scale nor on the neurons', and ends where g ends. Like p
it has no part along a neuron's shift or scale. The form is this library's; its dose
does not differ between networks as that of a weight in the loss does (docs/method.md).

Example:

>>> z = np.array([[0.0], [0.0], [0.0], [4.0]], "float32")
>>> out = km.ops.scale_invariant_pull(z, selected=z > 3, weight=0.1)
>>> keras.ops.convert_to_numpy(out).tolist()
[[0.0], [0.0], [0.0], [4.0]]
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend import BatchMoments, backend
from keras_mono.backend.reference import ROUNDING
from keras_mono.backend.replicas import with_these
from keras_mono.ops.scale_invariant_penalty import (
    mean_of_phi,
    standardized,
    that_count,
    without_shift_and_scale,
)


def scale_invariant_pull(
    z: Tensor,
    selected: Tensor,
    weight: float | Tensor,
    axis: int | Sequence[int] | None = -1,
    mask: Tensor | None = None,
) -> Tensor:
    """Pass `z` on, and pull the selected inwards, relative to the loss's gradient.

    Over several replicas moments and norms are those of the whole batch, and the
    average of the replicas' gradients is that of one device.

    Args:
        z: Activations, float, batch first.
        selected: Boolean, the shape of `z`. Entries that do not count are left out.
        weight: w, no unit: a number or a scalar tensor. A negative one pushes outwards.
        axis: Axis or axes that index neurons; None: every axis but the batch.
        mask: Boolean, broadcasts against `z`; True where an entry counts. NaN and
            infinite entries never do.

    Returns:
        `z`. The gradient is unchanged where nothing is selected, at a neuron that is
        constant in the batch, and where g is 0 or not finite at an entry that counts.

    Raises:
        ValueError: for another shape of `selected`, or a bad `axis`.
    """
    z, selected, valid, axes = that_count(z, selected, axis, mask)
    if ops.is_tensor(weight):
        weight = ops.stop_gradient(ops.cast(weight, "float32"))
    of = z, selected, valid, weight, axes, None
    return backend.pull(pull_as_defined, *of)[0]


def pull_as_defined(
    z: Tensor,
    selected: Tensor,
    valid: Tensor,
    weight: Any,
    axes: Axes,
    batch: BatchMoments | None,
) -> tuple[Tensor, Tensor]:
    """`scale_invariant_pull` and the mean φ; arguments as in `penalty_of_valid`."""
    unit = standardized(ops.stop_gradient(z), valid, axes, batch)
    selected = ops.cast(selected, "float32")
    chosen = selected * unit.deviation
    direction = without_shift_and_scale(chosen, unit, axes)
    squares = backend.all_reduce_sums(_square(direction), _square(chosen))
    # What rounding leaves, as of neurons with two entries, is no direction.
    is_rounding = squares[0] <= ROUNDING**2 * squares[1]
    inverse = ops.rsqrt(backend.where(is_rounding, 1.0, squares[0]))
    inverse = backend.where(is_rounding, 0.0, inverse)
    direction = direction * (inverse * weight)
    scale = unit.valid * backend.inverse(unit.precision)
    of = direction, scale, unit.precision
    nothing, value = ops.zeros_like(z, dtype="bool"), ops.zeros((), z.dtype)
    pulled = backend.replace_by(z, nothing, value, with_these(_gradient), *of)
    return pulled, mean_of_phi(selected, unit, "phi")


def _gradient(
    upstream: Tensor, direction: Tensor, scale: Tensor, precision: Tensor
) -> Tensor:
    """`direction`: weight times a vector of length 1, in standard deviations."""
    g = ops.cast(upstream, "float32")
    # Not `g * 0`: where nothing counts it need not be finite.
    length = _norm(backend.where(scale > 0.0, g * scale, 0.0))
    length = backend.where(ops.isfinite(length), length, 0.0)
    return ops.cast(g + length * direction * precision, upstream.dtype)


def _norm(x: Tensor) -> Tensor:
    """Over all entries and replicas; squares of small numbers would be 0."""
    size = backend.all_reduce_sum(backend.total(ops.abs(x)))
    squares = _square(x / backend.where(size > 0.0, size, 1.0))
    return size * ops.sqrt(backend.all_reduce_sum(squares))


def _square(x: Tensor) -> Tensor:
    return backend.total(ops.square(x))
