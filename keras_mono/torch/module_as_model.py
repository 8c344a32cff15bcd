from typing import Any

import keras
import numpy as np
import torch

from keras_mono.layers.running_statistics import RunningStatistics
from keras_mono.torch.adapter import Adapter


class ModuleAsModel:
    """A PyTorch module with those of a Keras model's methods that analysis needs."""

    built = True

    def __init__(self, module: Any) -> None:
        self.module = getattr(module, "_orig_mod", module)  # not what compile returns
        self.name = type(self.module).__name__

    @property
    def weights(self) -> list[Any]:
        return list(self.module.parameters())

    @property
    def variables(self) -> list[keras.Variable]:
        """Those of Keras."""
        return [v for x in self.adapted_layers().values() for v in x.variables]

    def adapted_layers(self) -> dict[str, RunningStatistics]:
        """The layers of its adapters, by the adapters' paths."""
        found = {}
        for path, module in self.module.named_modules():
            if isinstance(module, Adapter | RunningStatistics):
                layer = module.layer if isinstance(module, Adapter) else module
                found[path or self.name] = layer
        return found

    def __call__(self, batch: Any, training: bool = False) -> Any:  # noqa: ARG002
        """At inference; by `call`, which may be listened to as that of a layer."""
        modes = [(module, module.training) for module in self.module.modules()]
        self.module.eval()
        try:
            with torch.no_grad(), torch.compiler.set_stance("force_eager"):
                return self.call(keras.tree.map_structure(self._as_tensor, batch))
        finally:
            for module, mode in modes:
                module.training = mode

    def call(self, batch: Any) -> Any:
        """The module's output: of a dict by names, of a list or tuple in order."""
        if isinstance(batch, dict):
            return self.module(**batch)
        if isinstance(batch, list | tuple):
            return self.module(*batch)
        return self.module(batch)

    def _as_tensor(self, x: Any) -> Any:
        """Where the module is, and of its precision."""
        held = [*self.module.parameters(), *self.module.buffers()]
        if not isinstance(x, torch.Tensor):
            x = torch.as_tensor(np.array(x))
        if x.is_floating_point():
            floats = (t.dtype for t in held if t.is_floating_point())
            x = x.to(next(floats, torch.float32))
        return x.to(held[0].device) if held else x
