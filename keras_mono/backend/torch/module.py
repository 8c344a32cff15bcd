"""A PyTorch module in the place of a Keras model."""

from typing import Any

import keras
import numpy as np
import torch

from keras_mono.backend.listeners import listeners_of


class HoldsLayer:
    """Base of PyTorch modules that run a layer of this library, their `layer`."""

    layer: Any


class ModuleAsModel:
    """A PyTorch module with the methods of a Keras model that measuring it takes."""

    built = True

    def __init__(self, module: Any) -> None:
        self.module = getattr(module, "_orig_mod", module)  # not what compile returns
        self.name = type(self.module).__name__

    @property
    def weights(self) -> list[Any]:
        return list(self.module.parameters())

    @property
    def variables(self) -> list[keras.Variable]:
        """The Keras variables of the adapted layers."""
        return [v for x in self.adapted_layers().values() for v in x.variables]

    def adapted_layers(self) -> dict[str, Any]:
        """The layers of this library in the module, by the paths of their modules."""
        found = {}
        for path, module in self.module.named_modules():
            layer = module.layer if isinstance(module, HoldsLayer) else module
            if listeners_of(layer) is not None:
                found[path or self.name] = layer
        return found

    def __call__(self, batch: Any, training: bool = False) -> Any:  # noqa: ARG002
        """Run the module at inference, by `call`, which may have a hook."""
        modes = [(module, module.training) for module in self.module.modules()]
        self.module.eval()
        try:
            with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                return self.call(keras.tree.map_structure(self._as_tensor, batch))
        finally:
            for module, mode in modes:
                module.training = mode

    def call(self, batch: Any) -> Any:
        """The module's output. A dict holds arguments by name, a list several."""
        if isinstance(batch, dict):
            return self.module(**batch)
        if isinstance(batch, list | tuple):
            return self.module(*batch)
        return self.module(batch)

    def _as_tensor(self, x: Any) -> Any:
        """On the module's device, floats in the dtype of its parameters."""
        held = [*self.module.parameters(), *self.module.buffers()]
        if not isinstance(x, torch.Tensor):
            x = torch.as_tensor(np.array(x))
        if x.is_floating_point():
            floats = (t.dtype for t in held if t.is_floating_point())
            x = x.to(next(floats, torch.float32))
        return x.to(held[0].device) if held else x
