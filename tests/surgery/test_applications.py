"""Models of `keras.applications`, with random weights and small images."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import same
from support.training import numbers

LAYER = km.layers.MonosemanticInhibition(axis=-1, start_step=1)
MODELS = {
    "ResNet50": "conv4_block[2-5]_out",
    "MobileNetV3Small": "*_add",
    "ConvNeXtTiny": "convnext_tiny_stage_2_block_[3-6]_identity",
}


def make(name):
    keras.utils.set_random_seed(0)
    arguments = {"weights": None, "input_shape": (32, 32, 3), "classes": 4}
    return getattr(keras.applications, name)(**arguments)


@pytest.mark.slow
@pytest.mark.one_backend  # graphs of one kind: small ones run on every backend
@pytest.mark.parametrize("name", MODELS)
def test_it_trains_and_comes_out_again(name):
    model = make(name)
    big = km.insert_after(model, MODELS[name], LAYER)
    x = np.random.default_rng(0).uniform(0, 255, size=(4, 32, 32, 3)).astype("float32")
    before = numbers(model(x, training=False))
    assert same([numbers(big(x, training=False))], [before])
    on_jax = keras.backend.backend() == "jax"  # compiled elsewhere it takes a minute
    big.compile("sgd", "sparse_categorical_crossentropy", jit_compile=on_jax)
    for _ in range(2):
        big.train_on_batch(x, np.arange(4))
    rows = km.status(big)
    assert len(rows) >= 4
    assert all(row["steps"] == 2 for row in rows)
    back = km.strip(big)
    assert len(km.status(back)) == 0
    after = numbers(back(x, training=False))
    assert same([after], [numbers(big(x, training=False))])
