"""Calls that a backend may repeat in the backward pass; nothing of the kind by default.

`torch/checkpoints.py` has the same names for PyTorch.
"""

from typing import Any


class TrainingCall:
    """A layer's training call.

    Attributes:
        repeats: True if it repeats an earlier call, which has counted the batch.
        may_be_repeated: True if a later call may repeat it.
        without_gradient: True if only its repetition will have a gradient.
    """

    repeats = may_be_repeated = without_gradient = False

    def __init__(self, layer: Any) -> None:
        """Look where the call comes from."""

    def keep(self, what: Any) -> None:
        """For the calls that repeat this one."""

    def kept(self) -> Any:
        """What the call kept that this one repeats."""


def repeats_training(layer: Any) -> bool:  # noqa: ARG001
    """Whether this call repeats one that kept something, hence a training call."""
    return False


def counted_once(method: Any) -> Any:
    """For methods that make a `TrainingCall`, which may look at the caller's frames."""
    return method


def current_backward() -> int:
    """Number of the backward pass that is being computed; -1 if there is none."""
    return -1
