"""What a training call of our layers starts and reads on a GPU, counted without one."""

import json
import os
import re
import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("operations are counted on PyTorch", allow_module_level=True)

import torch
from packaging.version import Version

from support import accelerator, generated_kernels
from support.counted_layers import CASES, FEW
from support.small import Calls, on_gpu

if on_gpu():
    pytest.skip("counted where there is no GPU", allow_module_level=True)

# At [32, 128, 768], counted; the worst of all axes, masks and selectors. They are
# exact: what needs more fails. BatchNormalization takes 45 kernels, and a copy of the
# input and its gradient move 5 activations.
KERNELS = {  # in the first batch, in an ordinary one, and where the threshold searches
    "MonosemanticScale": (58, 39, 39),
    "MonosemanticInhibition": (73, 59, 120),
    "MonosemanticInhibition scale_invariant": (104, 87, 148),
    "MonosemanticPenalty l2e": (85, 70, 131),
    "MonosemanticPenalty phi": (106, 88, 149),
    "MonosemanticPenalty relative": (128, 111, 172),
}
TRAFFIC = {
    "MonosemanticScale": (28, 18),
    "MonosemanticInhibition": (36, 26),
    "MonosemanticInhibition scale_invariant": (69, 56),
    "MonosemanticPenalty l2e": (53, 43),
    "MonosemanticPenalty phi": (58, 44.1),
    "MonosemanticPenalty relative": (66, 52.4),
}
SEARCH = 4.1  # activations that a search moves beyond an ordinary batch
# Kernels that torch.compile writes for a GPU, and the traffic of a call; without the
# search, which is a branch that one batch in 32 takes. With a mask no method takes more
# kernels, and along other axes only the later forms do.
COMPILED = {
    "MonosemanticScale, axis=-1": (3, 1.1),
    "MonosemanticInhibition, top-1, axis=None": (8, 9.1),
    "MonosemanticInhibition, top-1, axis=-1": (8, 8.6),
    "MonosemanticInhibition, threshold, axis=-1": (10, 8.6),
    "MonosemanticInhibition scale_invariant, threshold, axis=-1": (15, 15.7),
    "MonosemanticPenalty l2e, threshold, axis=-1": (10, 8.6),
    "MonosemanticPenalty phi, threshold, axis=-1": (15, 13.4),
    "MonosemanticPenalty relative, threshold, axis=-1": (21, 16.9),
    "MonosemanticInhibition, top-50, axis=None, masked": (9, 10.1),
    "MonosemanticInhibition, threshold, axis=None, masked": (10, 9.1),
    "MonosemanticPenalty l2e, threshold, axis=None, masked": (10, 9.1),
    "MonosemanticPenalty relative, threshold, axis=None, masked": (19, 18.3),
}
COMPILED_SEARCH = 5  # kernels of the search


SORT = re.compile(r"\b(sort|topk|kthvalue|argsort)\b")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_and_traffic_of_a_training_call(case):
    """And no read from the device, which would be an error."""
    found = accelerator.batches(case)
    first, ordinary = TRAFFIC[case.layer]
    traffic = first, ordinary, ordinary + SEARCH
    kinds = found.first, found.ordinary, found.looking
    for batch, kernels, moved in zip(kinds, KERNELS[case.layer], traffic, strict=True):
        listed = f"\n{batch}"
        assert batch.kernels <= kernels, listed
        assert batch.traffic <= moved, listed
    assert found.first.uploads == found.ordinary.uploads == 0
    assert found.number_looking == (case.select == "threshold")
    if case.select in ("top-1", "threshold"):
        assert not SORT.search(str(found.ordinary))


@pytest.mark.parametrize("case", [c for c in CASES if str(c) in COMPILED], ids=str)
def test_kernels_and_traffic_under_torch_compile(case):
    _check_compiled(case, generated_kernels.generated(case))


def test_a_layer_compiled_by_itself_has_the_same_kernels():
    case = FEW[2]
    found = generated_kernels.generated(case, generated_kernels.by_itself)
    _check_compiled(case, found)


def _check_compiled(case, found):
    assert len(found) == 1  # and does not compile again
    if Version(torch.__version__) < Version("2.13"):
        pytest.skip("compiled; the counts are those of PyTorch 2.13's compiler")
    kernels, traffic = COMPILED[str(case)]
    assert found[0].kernels <= kernels
    assert found[0].searching <= COMPILED_SEARCH * (case.select == "threshold")
    assert found[0].traffic <= traffic


class Copies(keras.layers.Layer):
    def call(self, x, training=None):  # noqa: ARG002
        return torch.clone(x)


def test_the_counter_counts_what_is_known():
    (copied,) = accelerator.training_calls(Copies)
    assert (copied.forward, copied.backward) == (2, 2)
    assert copied.traffic == pytest.approx(5, abs=1e-5)
    (norm,) = accelerator.training_calls(keras.layers.BatchNormalization)
    assert norm.kernels == 45
    assert norm.uploads == 0


READS = [
    lambda x: x * x.mean().item(),
    lambda x: x if x.mean() > 0 else -x,
    lambda x: x * x.detach().cpu().mean(),
    lambda x: x * float(keras.ops.convert_to_numpy(x).mean()),
    lambda x: x[x > 0],
    lambda x: x * len(x.detach().nonzero()),
]


@pytest.mark.parametrize("read", READS)
def test_a_read_from_the_device_is_an_error_that_tells_the_line(read):
    with pytest.raises(accelerator.HostRead, match=r"counts\.py:\d+ <lambda>"):
        accelerator.training_calls(lambda: Calls(read))


def test_numbers_that_are_copied_to_the_device_are_counted():
    (found,) = accelerator.training_calls(
        lambda: Calls(lambda x: keras.ops.where(x > 0, x, 0.0))
    )
    assert found.uploads == 1
    (found,) = accelerator.training_calls(
        lambda: Calls(lambda x: torch.clamp(x, min=0.0))
    )
    assert found.uploads == 0


def test_the_counter_counts_the_same_with_values():
    layer = keras.layers.BatchNormalization()
    layer.build((4, 3))
    found = accelerator.training_call(layer, torch.rand(4, 3))
    assert found.kernels == 45


def test_with_values_the_counts_are_the_same():
    """And after the first call nothing is read, though here it could be."""
    # The way of an accelerator is chosen when the package is imported.
    environment = os.environ | {"KERAS_MONO_BACKEND": "accelerator"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, accelerator.__file__],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(FEW)
    for line in lines:
        assert json.loads(line)["on meta"] == json.loads(line)["with values"], line
