"""Nothing that a layer has learned is lost on the way to disk and back."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

LAYERS = [
    km.layers.MonosemanticScale,
    km.layers.MonosemanticInhibition,
    km.layers.MonosemanticPenalty,
]


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(24, 6, 4)).astype("float32")
    return x, rng.normal(size=(24, 6, 2)).astype("float32")


def network():
    inputs = keras.Input((6, 4))
    x = keras.layers.Dense(5)(inputs)
    x = km.layers.MonosemanticScale(axis=-1, name="scale")(x)
    x = km.layers.MonosemanticInhibition(
        km.selectors.TopK(2, per="position"),
        axis=(-1, 1),
        forget_steps=3,
        start_step=2,
        name="inhibition",
    )(x)
    x = km.layers.MonosemanticPenalty(0.1, select=0.2, start_step=1, name="penalty")(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def fit(model):
    small.fit(model, *data())


def assert_same_variables(a, b):
    assert len(a) == len(b)
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(numbers(left), numbers(right), err_msg=left.path)


@pytest.fixture
def trained():
    model = network()
    fit(model)
    model.get_layer("inhibition").strength = 3.0
    model.get_layer("penalty").weight = 0.3
    model.get_layer("penalty").enabled = False
    return model


@pytest.mark.support("`.keras` files without `custom_objects`, training goes on")
def test_a_saved_model_loads_without_custom_objects_and_goes_on_training(
    trained, tmp_path
):
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    layer = loaded.get_layer("inhibition")
    assert layer.get_config() == trained.get_layer("inhibition").get_config()
    assert layer.strength == 3.0
    assert int(numbers(layer.step)) == 3
    penalty = loaded.get_layer("penalty")
    assert (round(penalty.weight, 6), penalty.enabled) == (0.3, False)
    assert penalty.selector_state["num_batches"] == 2
    assert penalty.selector_state == trained.get_layer("penalty").selector_state
    assert numbers(layer.mean).any()
    assert_same_variables(trained.weights, loaded.weights)
    fit(trained)
    fit(loaded)
    assert_same_variables(trained.weights, loaded.weights)
    assert int(numbers(layer.step)) == 6


@pytest.mark.support("`save_weights`, `load_weights`")
def test_weights_files(trained, tmp_path):
    path = tmp_path / "model.weights.h5"
    trained.save_weights(path)
    other = network()
    other.load_weights(path)
    assert_same_variables(trained.weights, other.weights)


def test_clone_model_keeps_the_layers_and_their_arguments(trained):
    clone = keras.models.clone_model(trained)
    for name in ("scale", "inhibition", "penalty"):
        original, copy = trained.get_layer(name), clone.get_layer(name)
        assert copy is not original
        assert copy.get_config() == original.get_config()
    assert int(numbers(clone.get_layer("inhibition").step)) == 0
    clone.set_weights(trained.get_weights())
    assert_same_variables(trained.weights, clone.weights)


def built(layer_class, shape=(None, 5), **arguments):
    layer = layer_class(**arguments)
    layer.build(shape)
    return layer


def stored(layer):
    store = {}
    layer.save_own_variables(store)
    return store


@pytest.mark.parametrize("layer_class", LAYERS)
def test_variables_are_stored_by_name(layer_class):
    """Their order may then change between versions."""
    layer = built(layer_class)
    layer(np.random.default_rng(0).normal(size=(8, 5)).astype("float32"), training=True)
    store = dict(reversed(stored(layer).items()))
    assert {"mean", "variance", "count", "step"} < set(store)
    again = built(layer_class)
    again.load_own_variables(store)
    assert_same_variables(layer.variables, again.variables)


def assert_refuses(layer, store, message):
    before = [numbers(v) for v in layer.variables]
    with pytest.raises(ValueError, match=message):
        layer.load_own_variables(store)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(numbers(variable), value)


def full(layer):
    """Its stored variables with values that cannot be mistaken for fresh ones."""
    return {name: np.full_like(value, 3) for name, value in stored(layer).items()}


def test_other_variables_are_refused_and_nothing_is_half_loaded():
    scale = built(km.layers.MonosemanticScale)
    penalty = built(km.layers.MonosemanticPenalty)
    message = r"expected the saved variables .*'penalty'.*Received: .*Load weights"
    assert_refuses(penalty, full(scale), message)
    assert_refuses(scale, full(penalty), r"Received: .*'penalty'")
    unbuilt = km.layers.MonosemanticScale()
    assert_refuses(unbuilt, full(scale), r"variables \[\].*build the layer before")


@pytest.mark.parametrize("layer_class", LAYERS)
def test_another_shape_is_refused_and_nothing_is_half_loaded(layer_class):
    layer, other = built(layer_class), built(layer_class, (None, 6))
    message = r"expected `mean` of shape \(1, 5\). Received: \(1, 6\).*same input shape"
    assert_refuses(layer, full(other), message)
    store = full(layer)
    store["mean_compensation"] = np.zeros((1, 6), "float32")
    assert_refuses(layer, store, r"expected `mean_compensation` of shape")
