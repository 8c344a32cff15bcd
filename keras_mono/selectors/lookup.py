import numbers
import operator
from typing import Any

import keras

from keras_mono.selectors.moving_threshold import MovingThreshold
from keras_mono.selectors.selector import Selector
from keras_mono.selectors.top_k import TopK


def get(select: "int | float | Selector | dict[str, Any]") -> Selector:
    """The selector that a layer's `select` argument names.

    Args:
        select: An integer k for `TopK(k)`, a float in (0, 1) for
            `MovingThreshold(fraction)`, a selector, or a selector's serialized form.

    Raises:
        ValueError: for anything else.

    Example:

    >>> km.selectors.get(5)
    TopK(k=5, per='sample')
    >>> km.selectors.get(0.02)
    MovingThreshold(fraction=0.02)
    """
    if isinstance(select, dict):
        select = keras.saving.deserialize_keras_object(select)
    if isinstance(select, Selector):
        return select
    if not isinstance(select, bool):
        try:
            return TopK(operator.index(select))  # type: ignore[arg-type]
        except TypeError:
            pass
        if isinstance(select, numbers.Real) and 0 < float(select) < 1:
            return MovingThreshold(float(select))
    raise ValueError(
        "`select` must be a positive integer k (the k most monosemantic activations of "
        "each sample), a fraction between 0 and 1 (all activations above a moving "
        f"threshold) or a selector such as `TopK`. Received: select={select!r}. "
        "Pass for example `select=1`, `select=0.02` or `select=TopK(5, "
        "per='position')`."
    )
