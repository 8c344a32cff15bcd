from typing import Any

import torch

from keras_mono.layers.running_statistics import OF_ANY_SIGN


def problem_with(name: str, tensor: Any) -> str | None:
    """What is wrong with a statistic, in words; None if nothing is.

    None too for no tensor and for a tensor without values.
    """
    if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
        return None
    if not bool(torch.isfinite(tensor).all()):
        return f"hold NaN or infinity in `{name}`"
    if name not in OF_ANY_SIGN and bool((tensor < 0).any()):
        return f"hold negative numbers in `{name}`"
    return None


def check_may_change(step: Any, x: Any) -> None:
    """Raise inside `torch.func` if what depends on `x` cannot be put into a buffer."""
    try:
        step.copy_(step + torch.zeros_like(x[:1]).sum().to(step.dtype))
    except RuntimeError as error:
        raise RuntimeError(
            "An adapter in training mode changes its statistics in place, as "
            "`BatchNorm1d` does, and `torch.func.vmap`, `grad` and the like allow that "
            "only for buffers that the transformed function is given as an argument "
            "(under `vmap`, a set each). Call `module.eval()`, or pass them: "
            "`params, buffers = torch.func.stack_module_state(models)`, then "
            "`torch.func.functional_call(model, (params, buffers), x)` inside."
        ) from error
