"""Inhibition in models that train, against the same training done in NumPy."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.custom_step import CustomStep
from support.oracle import Oracle
from support.small import dtype_policy
from support.training import numbers

BACKEND = keras.config.backend()
RATE = 0.01
OPTIONS = {"start_step": 2, "forget_steps": 3}


def data():
    """22 samples: three batches of 8, 8 and 6."""
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(22, 5)).astype("float32")
    return x, rng.normal(size=(22, 2)).astype("float32")


def batches(*arrays, size=8):
    for start in range(0, len(arrays[0]), size):
        yield tuple(a[start : start + size] for a in arrays)


def network(model_class=keras.Model, **compile_options):
    inputs = keras.Input((5,))
    x = keras.layers.Dense(6, use_bias=False, name="below")(inputs)
    x = km.layers.MonosemanticInhibition(name="inhibition", **OPTIONS)(x)
    outputs = keras.layers.Dense(2, use_bias=False, name="above")(x)
    model = model_class(inputs, outputs)
    model.compile(keras.optimizers.SGD(RATE), "mse", **compile_options)
    return model


class Expected:
    """The same network in NumPy: two matrices, the oracle between them."""

    def __init__(self, model):
        self.below, self.above = (numbers(w) for w in model.trainable_variables)
        self.oracle = Oracle(axes=(1,), **OPTIONS)
        self.inhibited = 0

    def train(self, x, y, strength=1.0):
        self.oracle.strength = strength
        z = x @ self.below
        out, factor = self.oracle.train(z, np.ones_like(z))
        self.inhibited += (factor != 1).sum()
        error = 2 * (out @ self.above - y) / y.size
        gradient = factor * (error @ self.above.T)
        self.above = self.above - RATE * out.T @ error
        self.below = self.below - RATE * x.T @ gradient


def assert_as_expected(model, expected):
    layer = model.get_layer("inhibition")
    oracle = expected.oracle
    assert int(numbers(layer.step)) == oracle.step
    np.testing.assert_array_equal(numbers(layer.count), oracle.count)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(numbers(layer.mean), oracle.mean, **close)
    np.testing.assert_allclose(numbers(layer.variance), oracle.variance, **close)
    for got, wanted in zip(
        model.get_weights()[:1] + model.get_weights()[-1:],
        (expected.below, expected.above),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, **close)


def fit(model, x, y):
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)


def train_on_batch(model, x, y):
    for _ in range(2):
        for batch in batches(x, y):
            model.train_on_batch(*batch)


WAYS = {
    "default": (fit, {}),
    "eager": (fit, {"run_eagerly": True}),
    "not jitted": (fit, {"jit_compile": False}),
    "jitted": (fit, {"jit_compile": True}),
    "three steps an execution": (fit, {"steps_per_execution": 3}),
    "train_on_batch": (train_on_batch, {}),
    "custom train_step": (fit, {"model_class": CustomStep}),
}
if BACKEND == "torch":
    del WAYS["jitted"], WAYS["three steps an execution"]  # Keras: not for PyTorch


ROWS = {
    "default": "`model.fit`",
    "eager": "`run_eagerly=True`",
    "not jitted": "`jit_compile=False`",
    "jitted": "`jit_compile=True`",
    "train_on_batch": "`train_on_batch`",
    "custom train_step": "a custom `train_step`",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(w, marks=[pytest.mark.support(ROWS[w])] if w in ROWS else [])
        for w in WAYS
    ],
)
def test_every_way_to_train_gives_the_same(way):
    train, options = WAYS[way]
    model = network(**options)
    x, y = data()
    expected = Expected(model)
    train(model, x, y)
    for _ in range(2):
        for batch in batches(x, y):
            expected.train(*batch)
    assert expected.oracle.step == 6
    assert expected.inhibited == 28  # one a sample, but for the first two batches
    assert_as_expected(model, expected)


@pytest.mark.parametrize("eager", [False, True])
def test_strength_takes_effect_without_compiling_again(eager):
    model = network(run_eagerly=eager)
    x, y = data()
    expected = Expected(model)
    for strength in (1.0, 5.0, -1.0, 0.0):
        model.get_layer("inhibition").strength = strength
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        if strength == 1.0:
            compiled = model.train_function
        for batch in batches(x, y):
            expected.train(*batch, strength=strength)
        assert model.train_function is compiled
    assert_as_expected(model, expected)


def test_inference_returns_what_the_plain_model_returns_and_moves_nothing():
    model = network()
    x, y = data()
    fit(model, x, y)
    before = [numbers(v) for v in model.variables]
    plain = keras.Sequential([keras.Input((5,))])
    plain.add(keras.layers.Dense(6, use_bias=False))
    plain.add(keras.layers.Dense(2, use_bias=False))
    plain.set_weights([numbers(v) for v in model.trainable_variables])
    plain.compile("sgd", "mse")
    loud = x * 100
    np.testing.assert_array_equal(
        model.predict(loud, verbose=0), plain.predict(loud, verbose=0)
    )
    for loss in (
        model.evaluate(loud, y, verbose=0) / plain.evaluate(loud, y, verbose=0),
        model.test_on_batch(loud, y) / plain.test_on_batch(loud, y),
    ):
        np.testing.assert_allclose(loss, 1.0, rtol=1e-6)
    model.predict_on_batch(loud)
    for variable, value in zip(model.variables, before, strict=True):
        if "metric" not in variable.path:
            np.testing.assert_array_equal(numbers(variable), value)


def test_validation_during_fit_moves_nothing():
    x, y = data()
    alone, validated = network(), network()
    validated.set_weights(alone.get_weights())
    fit(alone, x, y)
    arguments = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    validated.fit(x, y, validation_data=(x * 100, y), **arguments)
    for a, b in zip(alone.get_weights(), validated.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_frozen_layer_trains_the_model_without_inhibition():
    model = network()
    model.get_layer("inhibition").trainable = False
    model.compile(keras.optimizers.SGD(RATE), "mse")
    x, y = data()
    expected = Expected(model)
    expected.oracle.start_step = 100  # never inhibits
    fit(model, x, y)
    for _ in range(2):
        for batch in batches(x, y):
            expected.train(*batch)
    weights = model.get_weights()
    np.testing.assert_allclose(weights[0], expected.below, rtol=1e-4, atol=1e-5)
    layer = model.get_layer("inhibition")
    assert int(numbers(layer.step)) == 0
    assert not numbers(layer.mean).any()


def padded_batches(rng):
    """Batches of different sizes, lengths and paddings; rows of zeros are padding."""
    for samples, length in ((6, 5), (4, 3), (6, 7), (3, 5)):
        x = rng.standard_t(3, size=(samples, length, 3)).astype("float32") + 2
        kept = np.arange(length) < rng.integers(1, length + 1, size=(samples, 1))
        x[~kept] = 0.0
        yield x, kept


@pytest.mark.parametrize("select", [2, km.selectors.TopK(2, per="position")])
def test_masks_and_unknown_lengths(select):
    """Masking tells what is padding; batch size and length change from step to step."""
    inputs = keras.Input((None, 3))
    x = keras.layers.Masking()(inputs)
    layer = km.layers.MonosemanticInhibition(select, axis=-1, start_step=1)
    pooled = keras.layers.GlobalAveragePooling1D()(layer(x))
    scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, scale(pooled))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    oracle = Oracle((2,), layer.select.k, layer.select.per, start_step=1)
    for x, kept in padded_batches(np.random.default_rng(0)):
        out, selected = oracle.train(x, mask=kept)
        pooled = (out * kept[:, :, None]).sum(1) / kept.sum(1, keepdims=True)
        model.reset_metrics()  # Keras before 3.15 averages over calls
        loss = model.train_on_batch(x, np.zeros((len(x), 1), "float32"))
        np.testing.assert_allclose(loss, (pooled.sum(1) ** 2).mean(), rtol=1e-4)
        assert selected.any() == (oracle.step > 1)
    np.testing.assert_array_equal(numbers(layer.count), oracle.count)
    np.testing.assert_allclose(numbers(layer.mean), oracle.mean, rtol=1e-4)
    np.testing.assert_allclose(numbers(layer.variance), oracle.variance, rtol=1e-4)


def test_the_mask_of_an_embedding():
    inputs = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(20, 4, mask_zero=True, trainable=False)
    layer = km.layers.MonosemanticScale(axis=-1)
    outputs = keras.layers.GlobalAveragePooling1D()(layer(embedding(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    oracle = Oracle((2,))
    table = numbers(embedding.embeddings)
    for length in (6, 4, 9):
        tokens = rng.integers(0, 20, size=(8, length))
        tokens[:, length // 2 :] *= rng.integers(0, 2, size=(8, 1))
        model.train_on_batch(tokens, np.zeros((8, 1), "float32"))
        oracle.train(table[tokens], mask=tokens != 0)
    np.testing.assert_array_equal(numbers(layer.count), oracle.count)
    np.testing.assert_allclose(numbers(layer.mean), oracle.mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(numbers(layer.variance), oracle.variance, rtol=1e-4)


def test_half_precision_trains():
    with dtype_policy("mixed_bfloat16"):
        model = network()
    x, y = data()
    fit(model, x, y)
    layer = model.get_layer("inhibition")
    assert layer.compute_dtype == "bfloat16"
    assert layer.mean.dtype == "float32"
    assert int(numbers(layer.step)) == 6
    assert all(np.isfinite(w).all() for w in model.get_weights())
