"""Checks of arguments that several layers share."""

import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_mono._internal.typing import Axes, Tensor

LARGEST_FLOAT32 = 3.4e38
LARGEST_FACTOR = 1e8
"""Times the inverse variance of neurons of a deviation of 1e-15, float32 holds it."""


def positive_integer(name: str, value: int, of_what: str, advice: str = "") -> int:
    """`value` as an int ≥ 1, or a `ValueError` that names the argument."""
    number = _index(value)
    if number < 1:
        raise ValueError(
            f"`{name}` must be a positive integer number {of_what}. Received: "
            f"{name}={value!r}.{advice}"
        )
    return number


def _index(value: Any) -> int:
    """An integer as an int; -1 for anything else, a bool too."""
    try:
        return -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return -1


def positive_steps(name: str, value: int) -> int:
    """`value` as a positive number of training steps."""
    advice = " Pass 10 for the papers' setting."
    return positive_integer(name, value, "of training steps", advice)


def positive_steps_or_none(name: str, value: int | None) -> int | None:
    """`value` as a positive number of training steps, or None."""
    return None if value is None else positive_steps(name, value)


def finite_number(name: str, value: float, advice: str = "") -> float:
    """`value` as a float that float32 can hold, or an error that names the argument."""
    if not _is_within(value, LARGEST_FLOAT32):
        raise ValueError(
            f"`{name}` must be a finite number, of at most {LARGEST_FLOAT32:.1e}. "
            f"Received: {name}={value!r}.{advice}"
        )
    return float(value)


def factor(name: str, value: float) -> float:
    """`value` as a float with which a gradient can be multiplied in float32."""
    if not _is_within(value, LARGEST_FACTOR):
        raise ValueError(
            f"`{name}` must be a finite number between -{LARGEST_FACTOR:g} and "
            f"{LARGEST_FACTOR:g}, so that float32 can hold the gradient. Received: "
            f"{name}={value!r}."
        )
    return float(value)


def _is_within(value: Any, largest: float) -> bool:
    """Whether it is a number, and neither NaN nor larger either way."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and abs(value) <= largest


def truth(name: str, value: bool) -> bool:
    """`value` as a bool, if it is one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}.")
    return bool(value)


def one_of(allowed: Sequence[str], advice: str) -> Callable[[str, Any], str]:
    """A check that a value is one of those that are allowed."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(
                f"`{name}` must be one of {tuple(allowed)}. Received: {name}={value!r}."
                f" {advice}"
            )
        return str(value)  # not NumPy's, which PyTorch's compiler cannot compare

    return check


def compensation(name: str, value: float) -> float:
    """`value` as a finite float ≥ 0."""
    number = finite_number(name, value)
    if number < 0:
        raise ValueError(
            f"`{name}` must be 0 or positive. Received: {name}={value!r}. Pass 0.01 "
            "for the papers' setting or 0 for none."
        )
    return number


def share(name: str, value: float, of_what: str, advice: str) -> float:
    """`value` as a float between 0 and 1."""
    number = finite_number(name, value)
    if not 0 < number < 1:
        raise ValueError(
            f"`{name}` must lie between 0 and 1: the share of {of_what}. Received: "
            f"{name}={value!r}.{advice}"
        )
    return number


def fraction_to_select(value: float) -> float:
    """`value` as a float between 0 and 1."""
    advice = " Pass 0.02 for L2E's setting."
    return share("fraction", value, "activations to select", advice)


def seed(value: int) -> int:
    """`value` as an int that 31 bits hold."""
    number = _index(value)
    if not 0 <= number < 2**31:
        raise ValueError(
            "`seed` must be an integer from 0 to 2**31 - 1, or None for one that is "
            f"drawn. Received: seed={value!r}."
        )
    return number


def saved_numbers(
    layer: str, name: str, value: Any, low: float | None, high: float | None
) -> None:
    """Refuse statistics that would switch a layer off for good."""
    allowed = np.isfinite(value)
    if low is not None:
        allowed &= value >= low
    if high is not None:
        allowed &= value <= high
    if allowed.all():
        return
    bounds = "" if low is None else f" of {low} or more"
    bounds += "" if high is None else f", at most {high}"
    raise ValueError(
        f"Layer '{layer}' cannot load `{name}`: expected finite numbers{bounds}. "
        f"Received: {np.count_nonzero(~allowed)} other(s) of {allowed.size}, such as "
        f"{value[~allowed].flat[0]}. One of them would make every φ of the layer 0 or "
        "NaN. Load an earlier file, or fill the statistics anew with `km.calibrate`."
    )


def marks(selected: Tensor, z: Tensor) -> Tensor:
    """`selected` as a boolean tensor in the shape of `z`, or a `ValueError`."""
    selected = ops.convert_to_tensor(selected, "bool")
    check_marks(selected, z, lambda: "`selected` must have the shape of `z`")
    return selected


def check_marks(selected: Tensor, z: Tensor, expected: Callable[[], str]) -> None:
    """Raise a `ValueError` if `selected` is known to have another shape than `z`."""
    given, shape = tuple(selected.shape), tuple(ops.shape(z))
    fits = all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(given, shape, strict=False)
    )
    if len(given) != len(shape) or not fits:
        raise ValueError(
            f"{expected()}, {tuple(z.shape)}. Received: {given}. Broadcast it with "
            "`keras.ops.broadcast_to`."
        )


def distinct_axes(
    name: str, axis: int | Sequence[int] | None
) -> int | list[int] | None:
    """`axis` as an int, a list of distinct ints, or None."""
    if axis is None:
        return None
    try:
        if isinstance(axis, bool):
            raise TypeError
        if not isinstance(axis, Sequence):
            return operator.index(axis)
        axes = [operator.index(a) for a in axis]
    except TypeError:
        axes = []
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(
            f"`{name}` must be None, an integer or a tuple of different integers. "
            f"Received: {name}={axis!r}. Pass `{name}=-1` for one neuron a channel or "
            f"`{name}=None` for one neuron at every position."
        )
    return axes


def neuron_axes(
    axis: int | Sequence[int] | None, shape: tuple[int | None, ...]
) -> Axes:
    """The axes of `shape` that index neurons, non-negative and ascending."""
    rank = len(shape)
    if rank < 2:
        raise ValueError(
            "Inputs must have a batch axis and at least one axis of neurons. Received: "
            f"shape={shape}. Reshape them to (batch, neurons)."
        )
    if axis is not None:
        return _named_axes(axis, shape)
    axes = tuple(range(1, rank))
    if any(shape[a] is None for a in axes):
        raise ValueError(
            "`axis=None` keeps one statistic for every position of a sample and so "
            f"needs fixed lengths. Received: inputs of shape {shape}, where None "
            "is an unknown length. Pass `axis=-1` to count one neuron a channel, "
            "or give the input a fixed length."
        )
    return axes


def _named_axes(axis: int | Sequence[int], shape: tuple[int | None, ...]) -> Axes:
    rank = len(shape)
    given = [axis] if isinstance(axis, int) else list(axis)
    for a in given:
        if not -rank <= a < rank:
            raise ValueError(
                f"`axis` must lie between {-rank} and {rank - 1} for inputs of shape "
                f"{shape}. Received: axis={axis}."
            )
    axes = tuple(sorted(a % rank for a in given))
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"`axis` names an axis twice. Received: axis={axis} for inputs of shape "
            f"{shape}, that is the axes {axes}. Name each once."
        )
    if axes[0] == 0:
        raise ValueError(
            "`axis` must not name the batch axis: statistics are taken over samples. "
            f"Received: axis={axis} for inputs of shape {shape}. Pass `axis=-1` for "
            "one neuron a channel."
        )
    if any(shape[a] is None for a in axes):
        raise ValueError(
            "Every axis in `axis` needs a fixed length, one statistic an index. "
            f"Received: axis={axis} for inputs of shape {shape}, where None is an "
            "unknown length. Leave that axis out, for example `axis=-1`."
        )
    return axes
