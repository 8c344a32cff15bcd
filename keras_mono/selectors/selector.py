import operator
from typing import Any, Self

import keras

from keras_mono._typing import Tensor


class Selector:
    """Base of the selectors: marks which activations of a layer are inhibited.

    A selector is called with φ, which is 0 at every activation that must never be
    selected (masked, non-finite, without history), and returns a boolean tensor of the
    same shape. It checks itself against the layer's shape when that is built. It may
    not keep a reference to the layer.
    """

    def check(self, shape: tuple[int | None, ...], channel_axis: int) -> None:
        """Raise a `ValueError` if this selector cannot serve inputs of `shape`."""

    def __call__(self, phi: Tensor, channel_axis: int = -1) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(phi, channel_axis)`, which "
            "returns a boolean tensor of the shape of `phi`."
        )

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def get(select: "int | Selector | dict[str, Any]") -> Selector:
    """The selector that a layer's `select` argument names.

    Args:
        select: An integer k for `TopK(k)`, a selector, or a selector's serialized form.

    Raises:
        ValueError: for anything else.

    Example:

    >>> km.selectors.get(5)
    TopK(k=5, per='sample')
    """
    from keras_mono.selectors.top_k import TopK

    if isinstance(select, dict):
        select = keras.saving.deserialize_keras_object(select)
    if isinstance(select, Selector):
        return select
    try:
        if not isinstance(select, bool):
            return TopK(operator.index(select))  # type: ignore[arg-type]
    except TypeError:
        pass
    raise ValueError(
        "`select` must be a positive integer k (the k most monosemantic activations of "
        f"each sample) or a selector such as `TopK`. Received: select={select!r}. "
        "Pass for example `select=1` or `select=TopK(5, per='position')`."
    )
