"""Layers are inserted, and taken out, without changing the precision of anything."""

import keras
import pytest

import keras_mono as km
from support.existing import LAYER, data, dense, ours, predict, same
from support.small import dtype_policy


def chain(*layers):
    return keras.Sequential([keras.Input((8,)), *layers])


def graph(*layers):
    x = inputs = keras.Input((8,))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def float32_backbone(make):
    """As one that is loaded: its layers are float32 under any global policy."""
    with dtype_policy("float32"):
        made = make(dense(6, "deep"))
    return type(made).from_config({**made.get_config(), "name": "backbone"})


@pytest.mark.parametrize("nested", [chain, graph])
@pytest.mark.parametrize("around", [chain, graph])
def test_outputs_of_a_nested_model_are_not_narrowed(nested, around):
    with dtype_policy("mixed_float16"):
        backbone = float32_backbone(nested)
        assert backbone.compute_dtype == "float16"
        model = around(backbone, dense(2, "head", dtype="float32"))
        big = km.insert_after(model, "backbone", LAYER)
        back, before = km.strip(big), predict(model, data())
    assert same(predict(big, data()), before)
    assert same(predict(back, data()), before)


@pytest.mark.one_backend
@pytest.mark.parametrize("nested", [chain, graph])
def test_a_nested_model_in_a_sequential_that_is_not_built_yet(nested):
    with dtype_policy("mixed_float16"):
        backbone = float32_backbone(nested)
        model = keras.Sequential([keras.layers.Dropout(0.1), backbone])
        big = km.insert_after(model, "backbone", LAYER)
    inserted = big.get_layer("backbone_monosemantic_inhibition")
    assert inserted.compute_dtype == "float32"


class Cast(keras.layers.Layer):
    """Puts out another dtype than it computes in."""

    def __init__(self, to, **arguments):
        super().__init__(**arguments)
        self.to = to
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return keras.ops.cast(x, self.to) * keras.ops.cast(self.scale, self.to)


@pytest.mark.parametrize("around", [chain, graph])
@pytest.mark.parametrize(
    ("to", "policy"), [("float32", "mixed_float16"), ("float16", "float32")]
)
def test_a_layer_that_casts(around, to, policy):
    model = around(Cast(to, name="cast", dtype=policy))
    big = km.insert_after(model, "cast", LAYER)
    assert big.outputs[0].dtype == model.outputs[0].dtype == to
    assert same(predict(big, data()), predict(model, data()))


class Same(Cast):
    def __init__(self, **arguments):
        super().__init__(None, autocast=False, **arguments)

    def call(self, x):
        return x * keras.ops.cast(self.scale, x.dtype)


def test_calls_of_one_layer_on_two_dtypes_do_not_share():
    layer, wide = Same(name="own"), keras.Input((8,))
    narrow = keras.Input((8,), dtype="float16")
    model = keras.Model([wide, narrow], [layer(wide), layer(narrow)])
    big = km.insert_after(model, "own", LAYER)
    assert [x.dtype for x in big.outputs] == ["float32", "float16"]
    assert len(ours(big)) == 2


@pytest.mark.one_backend
def test_a_dtype_that_is_no_policy():
    x = keras.Input((8,))
    model = keras.Model(x, Cast("float8_e4m3fn", name="cast")(x))
    big = km.insert_after(model, "cast", LAYER)
    assert big.get_layer("cast_monosemantic_inhibition").compute_dtype == "float32"
