"""The device that a benchmark runs on: the CPU, or the accelerator that Keras finds.

Imports no backend before it is asked to.
"""

import os
import sys
from typing import Any


def hide_accelerators() -> None:
    """Before the first import of Keras: what follows runs on the CPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["JAX_PLATFORMS"] = "cpu"


def accelerator() -> str:
    """Its name; empty if there is none."""
    if "torch" in sys.modules:
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    if "jax" in sys.modules:
        import jax

        device = jax.devices()[0]
        return "" if device.platform == "cpu" else device.device_kind
    return ""


def wait(arrays: Any = ()) -> None:
    """Until everything is computed: on JAX `arrays`, on PyTorch all that was begun."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    elif "jax" in sys.modules:
        import jax

        jax.block_until_ready(arrays)
