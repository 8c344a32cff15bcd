from typing import Any

import keras
from keras import ops

from keras_mono._eager import (
    at_places,
    is_eager_on_cpu,
    marked_places,
)
from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor

_NEAREST = 1e-18  # 1 / its square, as in a second derivative, is finite in float32


def monosemantic_penalty(z: Tensor, selected: Tensor, mean: Tensor) -> Tensor:
    """Mean of `log (z - mean)²` over the selected activations (L2E).

    Minimizing it moves the selected activations towards their neuron's mean, with the
    gradient `2 / ((z - mean) · number selected)`. The logarithm takes out the variance,
    whose inverse would make the Monosemantic Scale itself explode.

    Reference: L2E (arXiv:2503.23298), L_MS.

    Args:
        z: Activations, float, any shape; nearer than 1.8e19 to their means, as the
            layers see to.
        selected: Boolean, the shape of `z`.
        mean: The neurons' means, in the units of `z`; broadcasts against `z`. It gets
            no gradient.

    Returns:
        Scalar, float32; 0 with zero gradient if nothing is selected. An activation
        nearer to its mean than 1e-18 counts as 1e-18 away and has no gradient. In
        float16 the gradient of one nearer than about 1e-5 overflows. It can be
        differentiated again.

    Raises:
        ValueError: if `selected` has another shape than `z`.

    Example:

    >>> z = np.array([1.0, 5.0, 3.0], "float32")
    >>> penalty = km.ops.monosemantic_penalty(z, [False, True, True], mean=2.0)
    >>> round(float(penalty), 4)  # (log 9 + log 1) / 2
    1.0986
    """
    return penalty_of_marked(z, validation.marks(selected, z), mean)


def penalty_of_marked(
    z: Tensor, selected: Tensor, mean: Tensor, remainder: Tensor | None = None
) -> Tensor:
    """`monosemantic_penalty` of a boolean tensor.

    `remainder` is what float32 cannot add to the mean.
    """
    z = ops.convert_to_tensor(z)
    mean = ops.stop_gradient(ops.cast(mean, "float32"))
    if is_eager_on_cpu(z):
        return _of_the_selected_only(z, selected, mean, remainder)

    def deviation_of(z: Tensor) -> Tensor:
        deviation = ops.cast(z, "float32") - mean
        if remainder is not None:
            deviation = deviation - remainder
        # 1, whose logarithm is 0, where nothing is selected; never NaN or infinite.
        return ops.where(selected, deviation, 1.0)

    # It can be differentiated further, and on PyTorch `z` may change in place after it.
    if keras.backend.backend() != "tensorflow":
        return _mean_logarithm(deviation_of(z), _number(selected))
    number = _number(selected)

    # The same in fewer passes over the activations.
    @ops.custom_gradient
    def penalty(z: Tensor) -> tuple[Tensor, Any]:
        kept = deviation_of(z)

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Tensor:
            dy = args[0] if upstream is None else upstream
            pull = ops.where(selected, _pull(kept, number, dy), 0.0)
            return ops.cast(pull, z.dtype)

        return _mean_logarithm(kept, number), gradient

    return penalty(z)


def _of_the_selected_only(
    z: Tensor, selected: Tensor, mean: Tensor, remainder: Tensor | None
) -> Tensor:
    """The same once more, for PyTorch without a compiler.

    There, the logarithm of every activation would take longer than all the rest.
    """
    where = marked_places(selected)
    # Autograd keeps the places and the deviations, not `z`, which a module after this
    # one may change in place.
    deviation = ops.cast(z.reshape(-1).index_select(0, where), "float32")
    deviation = deviation - at_places(mean, where, like=z)
    if remainder is not None:
        deviation = deviation - at_places(remainder, where, like=z)
    return _mean_logarithm(deviation, max(len(where), 1))


def _number(selected: Tensor) -> Tensor:
    return ops.maximum(ops.cast(ops.sum(selected), "float32"), 1.0)


def _mean_logarithm(deviation: Tensor, number: Tensor | int) -> Tensor:
    distance = ops.maximum(ops.abs(deviation), _NEAREST)
    return 2.0 * ops.sum(ops.log(distance)) / number


def _pull(deviation: Tensor, number: Tensor | int, upstream: Tensor) -> Tensor:
    """Gradient of the mean logarithm: 2 / (deviation · number)."""
    near = ops.abs(deviation) <= _NEAREST
    pull = (2.0 * upstream / number) / ops.where(near, 1.0, deviation)
    return ops.where(near, 0.0, pull)
