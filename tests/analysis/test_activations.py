import keras
import numpy as np
import pytest

import keras_mono as km


def small_model():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="inside")], name="inner"
    )
    x = keras.Input((5,))
    hidden = keras.layers.Dense(4, name="first")(x)
    return keras.Model(x, inner(hidden))


def test_equal_to_a_functional_extractor():
    model = small_model()
    x = np.random.default_rng(0).normal(size=(37, 5)).astype("float32")
    found = km.analysis.activations(model, x, ["first", "inside"], batch_size=10)
    first = keras.Model(model.inputs, model.get_layer("first").output)
    np.testing.assert_allclose(
        found["first"], first.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        found["inside"], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_our_layers_give_their_input():
    layer = km.layers.MonosemanticInhibition(active="always", start_step=1, name="ours")
    model = keras.Sequential([keras.Input((6,)), layer])
    x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    layer(x, training=True)
    layer(x, training=True)
    found = km.analysis.activations(model, x, ["ours"])["ours"]
    np.testing.assert_array_equal(found, x)
    assert not np.array_equal(model.predict(x, verbose=0), x)


def test_an_unknown_layer_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no \['third'\].*'first', 'inner', 'inside'"):
        km.analysis.activations(small_model(), np.ones((2, 5)), ["third"])


def test_a_layer_that_is_never_called():
    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = keras.layers.Dense(2, name="used")
            self.idle = keras.layers.Dense(2, name="idle")

        def call(self, x):
            return self.used(x)

    model = Unused()
    model(np.ones((1, 3), "float32"))
    with pytest.raises(ValueError, match=r"never called the layers \['idle'\]"):
        km.analysis.activations(model, np.ones((2, 3), "float32"), ["idle"])


def test_a_layer_with_several_outputs():
    class Two(keras.layers.Layer):
        def call(self, x):
            return x, x

    x = keras.Input((2,))
    model = keras.Model(x, Two(name="two")(x))
    with pytest.raises(ValueError, match="'two' has 2 outputs"):
        km.analysis.activations(model, np.ones((2, 2), "float32"), ["two"])
