from typing import Any

from keras_mono._eager import torch_module

torch = torch_module("keras_mono.torch")

_NEVER_NEGATIVE = {"variance", "count", "largest_batch", "non_finite", "step"}


def problem_with(name: str, tensor: Any) -> str | None:
    """What a statistic holds that no training leaves there, in words; None if nothing.

    Of a tensor without values, or of none, None.
    """
    if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
        return None
    if not bool(torch.isfinite(tensor).all()):
        return f"hold NaN or infinity in `{name}`"
    if name in _NEVER_NEGATIVE and bool((tensor < 0).any()):
        return f"hold negative numbers in `{name}`"
    return None
