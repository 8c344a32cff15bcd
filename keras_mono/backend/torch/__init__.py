"""What PyTorch does otherwise, eager on a CPU and on an accelerator."""

from keras_mono.backend.reference import Reference
from keras_mono.backend.torch.accelerator import TorchOnAccelerator
from keras_mono.backend.torch.cpu import TorchOnCpu
from keras_mono.backend.torch.definition import TorchDefinition


def chosen(form: str) -> Reference:
    """The form that `KERAS_MONO_BACKEND` names; the fastest if it names none."""
    forms = {
        "reference": TorchDefinition,
        "accelerator": TorchOnAccelerator,
        "": TorchOnCpu,
    }
    if form not in forms:
        raise ValueError(
            f"KERAS_MONO_BACKEND must be one of {sorted(forms)}. Received: {form!r}."
        )
    return forms[form]()
