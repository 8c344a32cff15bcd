"""Reversed deactivation that can neither shrink nor switch off a neuron.

The value is that of `deactivate`: the mean where selected. The gradient g that comes
from behind becomes, for the activations z of a neuron,

`g + P(c)`, `c = Δ·|g|·sign(z - mean) - g` where selected, 0 elsewhere

where P takes out the part along the neuron's shift and scale: what remains sums to 0
over the neuron's entries in the batch, and so does its product with the deviations from
their mean. Two things differ from the paper's `c = -Δ·g - g`:

- A step down this gradient moves a selected z towards the mean. The paper's does only
  if the loss pulls z back (Lemma 3.3 presumes it), and in training it often does not.
- No part of c can shrink or shift the neuron, which would lower |z - mean| as well.

Example:

>>> z = np.array([[1.0], [2.0], [9.0]], "float32")
>>> out = km.ops.scale_invariant_deactivate(z, selected=z > 5, mean=2.0)
>>> keras.ops.convert_to_numpy(out).tolist()
[[1.0], [2.0], [2.0]]
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_mono._internal.typing import Axes, Tensor
from keras_mono.backend import BatchMoments, backend
from keras_mono.backend.replicas import with_these
from keras_mono.ops.scale_invariant_penalty import (
    Standardized,
    standardized,
    that_count,
    without_shift_and_scale,
)


def scale_invariant_deactivate(
    z: Tensor,
    selected: Tensor,
    mean: Tensor,
    strength: float | Tensor = 1.0,
    axis: int | Sequence[int] | None = -1,
    mask: Tensor | None = None,
) -> Tensor:
    """Replace selected activations by their mean, and pull them towards it.

    A form of MEmeL's reversed deactivation (arXiv:2312.11560, section 3.3) with another
    gradient, which is this library's: see docs/method.md.

    Args:
        z: Activations, float, batch first.
        selected: Boolean, the shape of `z`. Entries that do not count are left out.
        mean: Value to put in, in the units of `z`; broadcasts against `z`. It gets no
            gradient.
        strength: Δ, no unit: a number or a scalar tensor. A negative one pushes away
            from the mean.
        axis: Axis or axes that index neurons; None: every axis but the batch.
        mask: Boolean, broadcasts against `z`; True where an entry counts. NaN and
            infinite entries never do.

    Returns:
        A tensor with the shape and dtype of `z`. The gradient passes a neuron that is
        constant in the batch unchanged.

    Raises:
        ValueError: for another shape of `selected`, or a bad `axis`.
    """
    z, selected, valid, axes = that_count(z, selected, axis, mask)
    mean = ops.convert_to_tensor(mean, z.dtype)
    if ops.is_tensor(strength):
        strength = ops.stop_gradient(ops.cast(strength, "float32"))
    of = z, selected, valid, mean, strength, axes, None
    return backend.deactivate(deactivate_as_defined, *of)


def deactivate_as_defined(
    z: Tensor,
    selected: Tensor,
    valid: Tensor,
    mean: Tensor,
    strength: Any,
    axes: Axes,
    batch: BatchMoments | None,
) -> Tensor:
    """`scale_invariant_deactivate`; arguments as in `penalty_of_valid`."""
    fixed = ops.stop_gradient(z)
    unit = standardized(fixed, valid, axes, batch)
    away = ops.cast(fixed, "float32") - ops.cast(mean, "float32")
    away = backend.where(selected, ops.stop_gradient(away), 0.0)
    away = ops.sign(away) * strength

    def pull(upstream: Tensor, *tensors: Tensor) -> Tensor:
        return _gradient(axes, upstream, *tensors)

    chosen = ops.cast(selected, "float32")  # whose gradient on JAX is a float
    gradient = with_these(pull)
    return backend.replace_by(z, selected, mean, gradient, chosen, away, *unit)


def _gradient(
    axes: Axes, upstream: Tensor, selected: Tensor, away: Tensor, *unit: Tensor
) -> Tensor:
    """`away`: Δ·sign(z - mean) of the selected, 0 elsewhere."""
    g = ops.cast(upstream, "float32")
    # g may be infinite elsewhere.
    change = backend.where(selected > 0.0, ops.abs(g) * away - g, 0.0)
    change = without_shift_and_scale(change, Standardized(*unit), axes)
    return ops.cast(g + change, upstream.dtype)
