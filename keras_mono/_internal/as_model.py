"""Functions that take a Keras model take a PyTorch module with adapters, too."""

from typing import Any

from keras_mono._eager import is_torch_module


def as_model(model: Any) -> Any:
    """A PyTorch module wrapped to be called like a Keras model; others unchanged."""
    if not is_torch_module(model):
        return model
    from keras_mono._internal.module_as_model import ModuleAsModel

    return ModuleAsModel(model)
