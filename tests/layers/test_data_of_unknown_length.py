"""A step counts where there are data, also if nobody knows where they end."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain
from support.training import numbers


def network(**options):
    return chain(
        (5, 4),
        keras.layers.Dense(6),
        km.layers.MonosemanticInhibition(0.1, start_step=1, name="inhibition"),
        km.layers.MonosemanticPenalty(start_step=1, name="penalty"),
        km.layers.MonosemanticScale(axis=-1, name="scale"),
        km.layers.InhibitedRNN(
            keras.layers.GRUCell(3),
            km.layers.MonosemanticInhibition(start_step=1),
            name="recurrent",
        ),
        **options,
    )


def layers(model):
    found = [model.get_layer(n) for n in ("inhibition", "penalty", "scale")]
    return [*found, model.get_layer("recurrent").inhibition]


def batches(number):
    rng = np.random.default_rng(0)
    for _ in range(number):
        yield rng.normal(size=(8, 5, 4)), rng.normal(size=(8, 3))


KINDS = ["generator"]
if keras.config.backend() == "tensorflow":
    KINDS += ["data set", "fixed batches"]


def as_data(number, kind):
    if kind == "generator":
        return batches(number)
    import tensorflow as tf

    x, y = (np.concatenate(part) for part in zip(*batches(number), strict=True))
    data = tf.data.Dataset.from_tensor_slices((x, y)).filter(lambda *_: True)
    return data.batch(8, drop_remainder=kind == "fixed batches")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "masked"), [("generator", False), *((kind, True) for kind in KINDS)]
)
def test_every_batch_counts_once(kind, masked):
    """After two epochs of three and two batches."""
    # Compiled by XLA each short batch would cost TensorFlow seconds.
    how = {"jit_compile": keras.config.backend() == "jax"}
    model = network(**how)
    if masked:
        model = keras.Sequential([keras.layers.Masking(), *model.layers])
        model.compile("sgd", "mse", **how)
    for number in (3, 2):
        model.fit(as_data(number, kind), verbose=0)
    for layer in layers(model):
        assert int(numbers(layer.step)) == 5, layer.name
        assert int(numbers(layer.non_finite)) == 0
        # Of 8 samples a batch, once or at each of 5 positions.
        assert numbers(layer.count).max() in (40, 200)
        if layer.name == "inhibition":
            assert layer.selector_state["num_batches"] == 4
