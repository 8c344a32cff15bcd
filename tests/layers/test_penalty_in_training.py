"""The penalty in models that train, against the same training done in NumPy."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.custom_step import CustomStep
from support.oracle import Oracle
from support.small import dtype_policy
from support.threshold_oracle import ThresholdOracle
from support.training import numbers

BACKEND = keras.config.backend()
RATE, WEIGHT = 0.01, 0.3
OPTIONS = {"start_step": 2, "forget_steps": 3}
FRACTION = 0.2
WAYS = ["fit", "eager fit", "train_on_batch", "custom step"]
if BACKEND != "torch":  # Keras: not for PyTorch
    WAYS += ["jit_compile", "steps_per_execution"]


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(32, 5)).astype("float32")
    return x, rng.normal(size=(32, 2)).astype("float32")


def network(select=FRACTION, way="fit", weight=WEIGHT, **options):
    inputs = keras.Input((5,))
    x = keras.layers.Dense(6, use_bias=False, name="below")(inputs)
    options = {"select": select, **OPTIONS, **options}
    options = {"form": "l2e", "name": "penalty", **options}
    x = km.layers.MonosemanticPenalty(weight, **options)(x)
    outputs = keras.layers.Dense(2, use_bias=False, name="above")(x)
    model_class = CustomStep if way == "custom step" else keras.Model
    model = model_class(inputs, outputs)
    how = {
        "eager fit": {"run_eagerly": True},
        "steps_per_execution": {"steps_per_execution": 2},
        "jit_compile": {"jit_compile": True},
    }.get(way, {})
    model.compile(keras.optimizers.SGD(RATE), "mse", **how)
    return model


class Expected:
    """The same network in NumPy."""

    def __init__(self, model, fraction=FRACTION, weight=WEIGHT):
        self.below, self.above = (numbers(w) for w in model.trainable_variables)
        self.oracle = Oracle(axes=(1,), **OPTIONS)
        self.threshold = ThresholdOracle(fraction)
        self.weight, self.penalty, self.penalized = weight, 0.0, 0

    def train(self, x, y):
        z = (x @ self.below).astype("float64")
        selected, mean = self.select(z)
        error = 2 * (z @ self.above - y) / y.size
        gradient = error @ self.above.T
        deviation = np.where(selected, z - mean, 1.0)
        count = max(selected.sum(), 1)
        self.penalized += selected.sum()
        self.penalty = self.weight * np.log(deviation**2).sum() / count
        gradient += self.weight * np.where(selected, 2 / (deviation * count), 0)
        self.above = self.above - RATE * z.T @ error
        self.below = self.below - RATE * x.T @ gradient

    def select(self, z):
        oracle = self.oracle
        started, phi, mean = oracle.step >= OPTIONS["start_step"], np.zeros(z.shape), 0
        if started:
            mean = oracle.mean
            valid = np.ones(z.shape, bool)
            phi = oracle.phi(z, valid, mean, oracle.variance, oracle.count)
        oracle.train(z)
        return (self.threshold.follow(phi) if started else phi > 0), mean


def run(model, x, y, way):
    if way == "train_on_batch":
        for _ in range(3):
            for start in range(0, 32, 8):
                model.train_on_batch(x[start : start + 8], y[start : start + 8])
    else:
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training(way):
    check_training(way, WEIGHT)


def test_a_negative_weight_encourages():
    check_training("fit", -WEIGHT)


def check_training(way, weight):
    model = network(way=way, weight=weight)
    expected = Expected(model, weight=weight)
    x, y = data()
    run(model, x, y, way)
    for _ in range(3):
        for start in range(0, 32, 8):
            expected.train(x[start : start + 8], y[start : start + 8])
    assert expected.penalized > 50
    layer = model.get_layer("penalty")
    assert int(numbers(layer.step)) == 12
    close = {"rtol": 1e-3, "atol": 1e-5}
    np.testing.assert_allclose(layer.penalty, expected.penalty, **close)
    tau = layer.selector_state["threshold"]
    np.testing.assert_allclose(tau, expected.threshold.threshold, rtol=1e-3)
    np.testing.assert_allclose(numbers(model.layers[1].kernel), expected.below, **close)
    np.testing.assert_allclose(
        numbers(model.layers[-1].kernel), expected.above, **close
    )


@pytest.mark.parametrize("way", WAYS[:2] + WAYS[4:])
def test_the_loss_holds_it_and_the_validation_loss_does_not(way):
    x, y = data()
    model = network(way=way)
    model.fit(x, y, batch_size=32, epochs=4, shuffle=False, verbose=0)  # started
    plain = keras.Model(model.inputs, model.outputs)
    plain.compile("sgd", "mse")
    without = plain.evaluate(x, y, batch_size=32, verbose=0)
    history = model.fit(
        x, y, batch_size=32, shuffle=False, verbose=0, validation_data=(x, y)
    ).history
    penalty = model.get_layer("penalty").penalty
    assert abs(penalty) > 0.01
    np.testing.assert_allclose(history["loss"][0] - penalty, without, rtol=1e-4)
    after = plain.evaluate(x, y, batch_size=32, verbose=0)
    np.testing.assert_allclose(history["val_loss"][0], after, rtol=1e-5)
    assert model.get_layer("penalty").penalty == penalty  # moved in training only
    model(x, training=False)
    assert model.losses == []


def test_nothing_selected_changes_nothing():
    """Before `start_step`, switched off, and with the weight 0."""
    x, y = data()
    late, off, weightless = network(start_step=1000), network(), network()
    off.get_layer("penalty").enabled = False
    weightless.get_layer("penalty").weight = 0.0
    first = [numbers(v) for v in late.trainable_variables]
    for model in (off, weightless):
        for variable, value in zip(model.trainable_variables, first, strict=True):
            variable.assign(value)
    trained = {}
    for model, age in ((late, 0), (off, 0), (weightless, 10)):
        run(model, x, y, "fit")
        layer = model.get_layer("penalty")
        assert layer.penalty == 0.0
        assert int(numbers(layer.step)) == 12
        assert layer.selector_state["num_batches"] == age
        trained[model] = [numbers(v) for v in model.trainable_variables]
    for model in (off, weightless):
        for got, expected in zip(trained[model], trained[late], strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("select", [0.2, 1, 3, km.selectors.TopK(2, per="position")])
def test_masked_entries_change_nothing(select):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 8, 4, 5)).astype("float32")
    mask = rng.random((6, 8, 4)) < 0.7
    found = []
    for fill in (0.0, 1e3, np.nan):
        layer = km.layers.MonosemanticPenalty(1.0, select, start_step=2)
        penalties = []
        for batch, kept in zip(z, mask, strict=True):
            filled = np.where(kept[..., None], batch, np.float32(fill))
            layer(filled, mask=kept, training=True)
            penalties.append(layer.penalty)
        found.append((penalties, layer.selector_state, numbers(layer.mean).tolist()))
    assert found[0] == found[1] == found[2]
    assert found[0][0][-1] != 0.0


def test_mixed_precision_trains():
    with dtype_policy("mixed_bfloat16"):
        model = network()
    x, y = data()
    run(model, x, y, "fit")
    layer = model.get_layer("penalty")
    assert layer.compute_dtype == "bfloat16"
    assert layer.selector_state["num_batches"] == 10
    assert layer.penalty != 0
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_frozen_layer_adds_nothing():
    model = network()
    model.get_layer("penalty").trainable = False
    model.compile("sgd", "mse")
    x, y = data()
    run(model, x, y, "fit")
    assert model.get_layer("penalty").penalty == 0
    assert int(numbers(model.get_layer("penalty").step)) == 0
    model(x, training=True)
    assert model.losses == []


def test_penalize_builds_the_layer_and_takes_arrays():
    z = np.random.default_rng(0).normal(size=(3, 8, 5)).astype("float32")
    one, other = (
        km.layers.MonosemanticPenalty(1.0, 1, form="phi", start_step=1)
        for _ in range(2)
    )
    one.build(z[0].shape)
    mask = np.arange(8) < 6
    for batch in z:
        penalty = one.penalize(keras.ops.convert_to_tensor(batch), mask=mask)
        again = other.penalize(batch, mask=mask.tolist())
        assert float(numbers(penalty)) == float(numbers(again))
    assert float(numbers(penalty)) != 0.0
