"""What the MEmeL authors' own module computed (float32, CPU, in its steady state)."""

import os
from pathlib import Path

import numpy as np
import pytest

import keras_mono as km
from support.training import numbers, value_and_gradient

PATH = os.environ.get(
    "KERAS_MONO_REFERENCE_VECTORS",
    Path(__file__).parent.parent / "data" / "reference_vectors.npz",
)
CASES = (
    "dense_top1",
    "dense_top5",
    "tokens_top1",
    "image_top1_delta5",
    "naive_a",
    "naive_b",
)


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_authors_module(case):
    with np.load(PATH) as data:
        vectors = {
            k.partition("/")[2]: data[k] for k in data if k.startswith(case + "/")
        }
    z, forget = vectors["z"], int(vectors["forget_steps"])
    layer = km.layers.MonosemanticInhibition(
        select=int(vectors["k"]),
        strength=float(vectors["delta"]),
        forget_steps=forget,
        include_current_batch=True,
    )
    layer.build(z.shape)
    shape = vectors["mean_before"].shape
    layer.mean.assign(vectors["mean_before"])
    layer.variance.assign(vectors["var_before"])
    layer.max_batch_count.assign(np.full(shape, len(z)))
    layer.count.assign(np.full(shape, forget * len(z)))
    layer.step.assign(layer.start_step)
    out, gradient = value_and_gradient(layer, z, vectors["upstream"])
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(out, vectors["out"], **close)
    np.testing.assert_allclose(gradient, vectors["grad_z"], **close)
    np.testing.assert_allclose(numbers(layer.mean), vectors["mean_after"], **close)
    np.testing.assert_allclose(numbers(layer.variance), vectors["var_after"], **close)
    assert (out != z).sum() >= len(z)
