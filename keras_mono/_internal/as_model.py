"""What takes a Keras model takes a PyTorch module with adapters, too."""

from typing import Any

from keras_mono.backend import backend


def as_model(model: Any) -> Any:
    """A PyTorch module as a model that can be called on data; all else as it is."""
    if not backend.is_foreign_module(model):
        return model
    from keras_mono.torch.module_as_model import ModuleAsModel

    return ModuleAsModel(model)
