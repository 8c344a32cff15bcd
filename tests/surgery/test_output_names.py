"""A model's outputs keep their names, by which losses, metrics and targets go."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import INHIBITION, LAYER, data, dense

Y = {"left": np.ones((24, 1)), "right": np.ones((24, 2))}


def compiled():
    inputs = keras.Input((8,))
    hidden = dense(6, "hidden", activation="relu")(inputs)
    model = keras.Model(inputs, [dense(1, "left")(hidden), dense(2, "right")(hidden)])
    model.compile(
        "sgd",
        loss={"left": "mse", "right": "mae"},
        loss_weights={"left": 1.0, "right": 2.0},
        metrics={"right": ["mse"]},
    )
    return model


@pytest.mark.parametrize("where", ["right", ["left", "right"], "hidden"])
def test_insertion_and_strip_keep_them(where):
    model = compiled()
    big = km.insert_after(model, where, LAYER)
    again = km.insert_after(big, "hidden", INHIBITION())
    for changed in (big, again, km.strip(big)):
        assert changed.output_names == ["left", "right"]
        found = changed.fit(data(), Y, batch_size=24, verbose=0).history
        assert {*found} == {"loss", "left_loss", "right_loss", "right_mse"}


@pytest.mark.one_backend
def test_strip_keeps_the_name_of_an_output_of_ours():
    inputs = keras.Input((8,))
    x = dense(1, "one")(inputs)
    y = km.layers.MonosemanticScale(axis=-1, name="scores")(dense(2, "two")(inputs))
    model = keras.Model(inputs, [x, y])
    model.compile("sgd", {"one": "mse", "scores": "mae"})
    lean = km.strip(model)
    assert lean.output_names == ["one", "scores"]
    lean.fit(data(), {"one": Y["left"], "scores": Y["right"]}, verbose=0)


@pytest.mark.one_backend
def test_a_nested_model_at_the_output():
    z = keras.Input((8,))
    inner = keras.Model(z, dense(2, "right")(z), name="inner")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, [inner(inputs), dense(1, "left")(inputs)])
    for where in ("inner", "inner/right"):
        big = km.insert_after(model, where, LAYER)
        assert big.output_names == ["inner", "left"]
        if where == "inner/right":
            assert big.get_layer("inner").output_names == ["right"]


def test_a_saved_model_is_named_after_its_last_layer_as_the_docs_say(tmp_path):
    big = km.insert_after(compiled(), "right", LAYER)
    big.save(tmp_path / "big.keras")
    loaded = keras.saving.load_model(tmp_path / "big.keras", compile=False)
    assert loaded.output_names == ["left", "right_monosemantic_inhibition"]
    loaded.output_names = ["left", "right"]
    loaded.compile("sgd", {"left": "mse", "right": "mae"})
    loaded.fit(data(), Y, verbose=0)
