"""Where a condition or a number may be read on the way, and every call costs."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mono._typing import Tensor


def is_eager_on_cpu(x: Tensor) -> bool:
    """True for PyTorch tensors on the CPU: no compiler, and reading waits for nobody.

    A call on a small tensor takes 5 to 25 µs there, a NumPy scalar or a Python operator
    a tenth of it.
    """
    return keras.backend.backend() == "torch" and x.device.type == "cpu"


def scalars(values: Any, like: Tensor) -> list[Any]:
    """Float32 scalars to calculate with: NumPy's where `like` is eager on the CPU."""
    if is_eager_on_cpu(like):
        return [np.float32(float(x)) for x in values]
    return list(values)


def arithmetic(like: Tensor) -> Any:
    """The module with `where`, `maximum`, ... for those scalars."""
    return np if is_eager_on_cpu(like) else ops
