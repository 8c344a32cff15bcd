"""Functions that take a Keras model take a PyTorch module with adapters, too."""

from typing import Any

from keras_mono.backend import backend


def as_model(model: Any) -> Any:
    """A PyTorch module wrapped to be called like a Keras model; others unchanged."""
    if not backend.is_foreign_module(model):
        return model
    from keras_mono.backend.torch.module import ModuleAsModel

    return ModuleAsModel(model)
