"""A forward pass at inference."""

from typing import Any

import keras


def forward(model: Any, inputs: Any) -> Any:
    """The outputs of a batch.

    A `Sequential` of one input would take the first of several, and say nothing.
    """
    if isinstance(model, keras.Sequential) and keras.tree.is_nested(inputs):
        number = len(keras.tree.flatten(inputs))
        if number > 1:
            raise ValueError(
                f"Model '{model.name}' takes one input. Received: {number} arrays in a "
                f"{type(inputs).__name__}. Pass the inputs alone, without labels."
            )
    return model(inputs, training=False)
