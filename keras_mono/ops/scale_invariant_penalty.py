"""A penalty on the batch's own φ, which scaling or shifting a neuron does not change.

`P = 1/n · Σ over selected (i, j) of φ_ij`, `φ_ij = (z_ij - m_j)² / v_j`

with mean m_j and biased variance v_j of neuron j in this batch, and n the number
selected. The gradient flows through m_j and v_j. So it has no part along a shift or a
scale: over the entries of a neuron it sums to 0, and so does its product with the
deviations. Minimizing P makes the tail of each neuron lighter. It cannot shrink, shift
or switch off the neuron, as `monosemantic_penalty` does.

The gradient of `of="phi"` is at most `2 · √B_j / (n · √v_j)`, B_j the number of entries
of the neuron, because no φ exceeds B_j. That of `of="log_phi"`, the mean of
`log max(φ, 1)`, is at most `2 / (n · √v_j)`, and strongest at φ just above 1. It pulls
inwards only where φ < B_j / n_j, n_j the neuron's number of selected with φ > 1:
beyond, an activation is driven *outwards*, which raises v_j for the others.

Over several replicas the moments are those of the whole batch, and the average of the
replicas' values, and of their gradients, is that of one device; there it can be
differentiated once only.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Axes, Tensor
from keras_mono._internal.varies import varies
from keras_mono.backend import BatchMoments, backend
from keras_mono.backend.replicas import with_these

OF = ("log_phi", "phi")


def scale_invariant_penalty(
    z: Tensor,
    selected: Tensor,
    axis: int | Sequence[int] | None = -1,
    mask: Tensor | None = None,
    of: str = "phi",
) -> Tensor:
    """Mean φ of the selected against the batch's own moments: a form of L2E's L_MS.

    Args:
        z: Activations, float, batch first.
        selected: Boolean, the shape of `z`. Entries that do not count are left out.
        axis: Axis or axes that index neurons; None: every axis but the batch.
        mask: Boolean, broadcasts against `z`; True where an entry counts. NaN and
            infinite entries never do.
        of: `"phi"`, or `"log_phi"`: the mean of `log max(φ, 1)`.

    Returns:
        Scalar, float32; 0 if nothing is selected. Constant neurons contribute nothing.

    Raises:
        ValueError: for another shape of `selected`, a bad `axis`, an unknown `of`.

    Example:

    >>> z = np.array([[0.0], [0.0], [0.0], [4.0]], "float32")
    >>> round(float(km.ops.scale_invariant_penalty(z, selected=z > 3)), 4)  # (4 - 1)²/3
    3.0
    """
    if of not in OF:
        raise ValueError(f"`of` must be one of {OF}. Received: of={of!r}.")
    return penalty_of_valid(*that_count(z, selected, axis, mask), of)


def that_count(
    z: Tensor, selected: Tensor, axis: int | Sequence[int] | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Axes]:
    """`z`, what is selected and valid, what is valid, and the axes to reduce over."""
    z = ops.convert_to_tensor(z)
    neurons = validation.neuron_axes(axis, tuple(z.shape))
    axes = tuple(i for i in range(len(z.shape)) if i not in neurons)
    selected = validation.marks(selected, z)
    valid = ops.isfinite(z)
    if mask is not None:
        valid = ops.logical_and(valid, ops.cast(mask, "bool"))
    return z, ops.logical_and(selected, valid), valid, axes


def penalty_of_valid(
    z: Tensor,
    selected: Tensor,
    valid: Tensor,
    axes: Axes,
    of: str,
    batch: BatchMoments | None = None,
) -> Tensor:
    """`scale_invariant_penalty`; what is selected is valid too.

    `batch` are the moments of the neurons, over all replicas, if known.
    """
    if backend.num_replicas() == 1:
        of_z = partial(mean_of, selected=selected, valid=valid, axes=axes, of=of)
        if of == "phi":
            return backend.mean_phi(with_these(of_z), z, selected, valid, axes, batch)
        return of_z(z)
    selected = ops.cast(selected, "float32")
    # No gradient passes from one replica to another, so it is given in closed form.
    unit = standardized(ops.stop_gradient(z), valid, axes, batch)
    pull = without_shift_and_scale(selected * _slope(unit, of), unit, axes)
    step = backend.where(valid, ops.cast(z, "float32"), 0.0)
    step = (step - ops.stop_gradient(step)) * unit.precision
    return mean_of_phi(selected, unit, of, step * pull)


def mean_of(z: Tensor, selected: Tensor, valid: Tensor, axes: Axes, of: str) -> Tensor:
    """The definition, which can be differentiated any number of times."""
    unit = standardized(z, valid, axes)
    return mean_of_phi(ops.cast(selected, "float32"), unit, of)


def mean_of_phi(
    selected: Tensor, unit: "Standardized", of: str, more: Tensor | None = None
) -> Tensor:
    """Mean over the selected, 1 or 0, of φ, with `more` in the sum.

    The replicas' average is the mean over what all of them have selected.
    """
    total = backend.total(selected * _of_phi(unit, of))
    total = total if more is None else total + ops.sum(more)
    return total / a_replica(backend.total(selected))


def a_replica(number: Tensor) -> Tensor:
    """The average over the replicas of how many they select; at least 1 of all."""
    number = backend.all_reduce_mean(number)
    return backend.clip(number, 1.0 / backend.num_replicas())


class Standardized(NamedTuple):
    """A batch, in standard deviations: each neuron over all replicas."""

    deviation: Tensor  # in standard deviations; 0 where nothing counts
    valid: Tensor  # float32, 1 where an entry counts
    count: Tensor  # of each neuron, at least 1
    variance: Tensor  # of `deviation`: 1, with its gradient
    precision: Tensor  # 1 / standard deviation; 0 if the neuron is constant


def standardized(
    z: Tensor, valid: Tensor, axes: Axes, batch: BatchMoments | None = None
) -> Standardized:
    """Standardize the entries that are valid; with gradient, unless given `batch`."""
    z = backend.where(valid, ops.cast(z, "float32"), 0.0)
    ones = ops.broadcast_to(ops.cast(valid, "float32"), ops.shape(z))
    if batch is None:
        count, total = _sums(axes, ones, z)
        count = backend.clip(count, 1.0)
        near = ops.stop_gradient(total / count)
    else:
        count, near = backend.clip(batch.count, 1.0), batch.anchor + batch.shift
    # Twice: the mean of large values is rounded, that of the rest is not.
    rest = (z - near) * ones
    shift = _sum(rest, axes) / count
    deviation = (rest - shift) * ones
    variance = ops.stop_gradient(_sum(deviation * deviation, axes) / count)
    changes = varies(near, variance, None if batch is None else shift)
    precision = backend.where(
        changes, ops.rsqrt(backend.where(changes, variance, 1.0)), 0.0
    )
    deviation = deviation * precision
    if batch is None:  # its derivative would overflow were the units still in it
        variance = _sum(deviation * deviation, axes) / count
        variance = backend.where(changes, variance, 1.0)
    else:
        variance = ops.ones_like(precision)
    return Standardized(deviation, ones, count, variance, precision)


def without_shift_and_scale(x: Tensor, unit: Standardized, axes: Axes) -> Tensor:
    """`x` less its part along each neuron's shift and scale.

    A change along what remains leaves mean and variance of the neuron as they are, to
    first order. 0 for a neuron that is constant in the batch.
    """
    shift, scale = _sums(axes, x * unit.valid, x * unit.deviation)
    shift, scale = shift / unit.count, scale / (unit.count * unit.variance)
    rest = (x - shift) * unit.valid - scale * unit.deviation
    return backend.where(unit.precision > 0.0, rest, 0.0)


def _of_phi(unit: Standardized, of: str) -> Tensor:
    phi = ops.square(unit.deviation) / unit.variance
    return phi if of == "phi" else ops.log(backend.clip(phi, 1.0))


def _slope(unit: Standardized, of: str) -> Tensor:
    """Derivative of `_of_phi` by the deviation, with the variance held constant."""
    if of == "phi":
        return 2.0 * unit.deviation / unit.variance
    pulled = ops.square(unit.deviation) > unit.variance
    away = backend.where(pulled, unit.deviation, 1.0)
    return backend.where(pulled, 2.0 / away, 0.0)


def _sum(x: Tensor, axes: Axes) -> Tensor:
    """Over the entries of each neuron, on all replicas."""
    return backend.all_reduce_sum(backend.quick_sum_over(x, axes))


def _sums(axes: Axes, *xs: Tensor) -> Sequence[Tensor]:
    """Sums of several, in one message."""
    sums = (backend.quick_sum_over(x, axes) for x in xs)
    return backend.all_reduce_sums(*sums)
