"""Small networks, data and trainings that many test modules use."""

import contextlib

import keras
import numpy as np
import pytest
from hypothesis import settings


def cases_each_backend():
    """A third where every shape is compiled anew: JAX, and TensorFlow's operations."""
    every = settings.default.max_examples
    return every if keras.config.backend() == "torch" else every // 3


def mostly_one_backend(cases, *each_backend):
    """Parameters of which the other backends run only some: compiling is their time."""
    return [
        case
        if case in each_backend
        else pytest.param(
            *(case if isinstance(case, tuple) else [case]),
            marks=pytest.mark.one_backend,
        )
        for case in cases
    ]


def on_gpu():
    """Whether Keras computes on one."""
    if keras.config.backend() == "torch":
        return keras.ops.zeros(()).is_cuda
    return keras.distribution.list_devices()[0].startswith("gpu")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def student_t(freedom, *shape, seed=0):
    """Heavy tails: some activations are far more extreme than the others."""
    return np.random.default_rng(seed).standard_t(freedom, size=shape).astype("float32")


def chain(shape, *layers, name=None, optimizer="sgd", loss="mse", **options):
    """A compiled `Sequential`."""
    model = keras.Sequential([keras.Input(shape), *layers], name=name)
    model.compile(optimizer, loss, **options)
    return model


@contextlib.contextmanager
def dtype_policy(name):
    """What is made within has this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Calls(keras.layers.Layer):
    """A layer that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x, training=None):  # noqa: ARG002
        return self.function(keras.ops.convert_to_tensor(x))


def fit(model, x, y, *callbacks, **options):
    """`model.fit` in the order of the samples, in batches of 8."""
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, callbacks=list(callbacks), **options)


def labelled_data(n=90):
    """Inputs of five numbers, and one of three features each: "fr" is shifted by 1."""
    labels = np.array(["de", "fr", "it"])[np.arange(n) % 3]
    x = np.random.default_rng(0).normal(size=(n, 5))
    return x + (labels == "fr")[:, None], labels


def one_layer(units=3):
    """A network for `labelled_data` of the layer "units" alone."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(units, name="units")]
    )
