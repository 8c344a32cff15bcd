"""Variables without a value, because a running `fit` on JAX holds it.

On JAX `fit` moves the values out of the variables into its own state. Reading
`self.model` in a callback brings them back. In between a variable must not be read,
and a value assigned to it is overwritten.
"""

from collections.abc import Iterable
from typing import Any

import keras

from keras_mono.backend import backend


def check_present(
    layer: Any, variables: Iterable[keras.Variable], attempt: str
) -> None:
    """Raise a `RuntimeError` if a `fit` holds the value of one of the variables."""
    if any(backend.is_held_by_fit(variable) for variable in variables):
        raise RuntimeError(
            f"Layer '{layer.name}' cannot {attempt} now: on JAX a running `fit` keeps "
            "the values of all variables itself. In a callback use `self.model` before "
            f"(for example `self.model.get_layer({layer.name!r})`), which brings them "
            "back into the layers, or an `InhibitionSchedule` to change `strength`, "
            "`weight` or `enabled`."
        )
