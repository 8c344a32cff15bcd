"""On a GPU PyTorch layers take tensors of the CPU, as Keras' own layers do."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import normal, on_gpu
from support.training import numbers

if keras.config.backend() != "torch" or not on_gpu():
    pytest.skip("for PyTorch on a GPU", allow_module_level=True)

import torch


@pytest.mark.parametrize(
    "masks", [("mask",), ("padding_mask",), ("mask", "padding_mask")]
)
def test_inputs_and_masks_of_the_cpu(masks):
    z, mask = normal(16, 5), np.arange(16) % 3 > 0
    layers = [km.layers.MonosemanticInhibition(start_step=2) for _ in range(2)]
    for layer, move in zip(
        layers, (torch.from_numpy, keras.ops.convert_to_tensor), strict=True
    ):
        for _ in range(3):
            layer(move(z), training=True, **{name: move(mask) for name in masks})
    for one, other in zip(*(layer.saved_variables() for layer in layers), strict=True):
        np.testing.assert_array_equal(numbers(one), numbers(other))
