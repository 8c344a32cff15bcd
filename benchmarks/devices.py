"""The device that a benchmark runs on: the CPU, or the accelerator that Keras finds.

Imports no backend before it is asked to.
"""

import os
from typing import Any


def hide_accelerators() -> None:
    """Before the first import of Keras: what follows runs on the CPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["JAX_PLATFORMS"] = "cpu"


def _backend() -> str:
    import keras

    return keras.config.backend()


def accelerator() -> str:
    """Its name; empty if there is none, and on TensorFlow."""
    if _backend() == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    if _backend() == "jax":
        import jax

        device = jax.devices()[0]
        return "" if device.platform == "cpu" else device.device_kind
    return ""


def wait(arrays: Any = ()) -> None:
    """Until everything is computed: on JAX `arrays`, on PyTorch all that was begun."""
    if _backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    elif _backend() == "jax":
        import jax

        jax.block_until_ready(arrays)
