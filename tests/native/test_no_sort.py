"""What eager PyTorch calls on a CPU: the moving threshold sorts nothing."""

import re

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import value_and_gradient

if keras.backend.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

SORT = re.compile(r"\b(sort|topk|kthvalue)\b")
THRESHOLD = [
    lambda: km.layers.MonosemanticInhibition(0.02, axis=-1, start_step=2),
    lambda: km.layers.MonosemanticPenalty(start_step=2),
]


def called_after_five_batches(layer):
    """The operations of a batch in which the threshold does not look for a value."""
    from torch.profiler import ProfilerActivity, profile

    rng = np.random.default_rng(0)
    for _ in range(5):
        z = rng.normal(size=(8, 16, 32)).astype("float32")
        value_and_gradient(layer, z, z)
    with profile(activities=[ProfilerActivity.CPU]) as done:
        value_and_gradient(layer, z, z)
    return " ".join(event.key for event in done.key_averages())


@pytest.mark.parametrize("make", THRESHOLD)
def test_the_threshold_sorts_nothing(make):
    found = called_after_five_batches(make())
    assert len(found) > 100
    assert not SORT.search(found)


def test_top_k_is_seen_to_sort():
    selector = km.selectors.TopK(3, per="position")
    layer = km.layers.MonosemanticInhibition(selector, axis=-1, start_step=2)
    assert SORT.search(called_after_five_batches(layer))
