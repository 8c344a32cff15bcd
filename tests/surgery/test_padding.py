"""A model input that marks padding reaches the inserted layers, or that is an error."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

LAYER = km.layers.MonosemanticInhibition(axis=-1, start_step=1)


def encoder(name="padding_mask", length=None):
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    padding = keras.Input((length,), dtype="int32", name=name)
    x = keras.layers.Embedding(20, 4, name="embedding")(tokens)
    x = keras.layers.Dense(4, activation="relu", name="hidden")(x)
    weights = keras.ops.expand_dims(keras.ops.cast(padding, "float32"), -1)
    x = keras.ops.sum(x * weights, axis=1)
    x = keras.layers.Dense(3, name="pooled")(x)
    return keras.Model({"tokens": tokens, name: padding}, x, name="encoder")


def nested():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    padding = keras.Input((6,), dtype="int32", name="padding_mask")
    z = keras.Input((6, 4))
    inner = keras.Model(z, keras.layers.Dense(4, name="deep")(z), name="inner")
    x = inner(keras.layers.Embedding(20, 4, name="embedding")(tokens))
    x = x * keras.ops.expand_dims(keras.ops.cast(padding, "float32"), -1)
    return keras.Model({"tokens": tokens, "padding_mask": padding}, x, name="outer")


def data(name="padding_mask"):
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 20, size=(8, 6))
    padding = (np.arange(6) < rng.integers(2, 6, size=(8, 1))).astype("int32")
    return {"tokens": tokens * padding, name: padding}


def statistics(model, x):
    km.calibrate(model, x, batch_size=4)
    name = next(row["layer"] for row in km.status(model))
    return [numbers(v) for v in model.get_layer(name).saved_variables()]


@pytest.mark.parametrize("name", ["padding_mask", "encoder_padding_mask", "keep"])
@pytest.mark.parametrize("length", [None, 6])
def test_changing_padded_tokens_changes_no_statistic(name, length):
    mask = name if name == "keep" else None
    model = km.insert_after(encoder(name, length), "hidden", LAYER, mask=mask)
    x = data(name)
    padded = {**x, "tokens": np.where(x[name] == 0, 7, x["tokens"])}
    before, after = statistics(model, x), statistics(model, padded)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    layer = model.get_layer("hidden_monosemantic_inhibition")
    assert numbers(layer.count).max() == x[name].sum()


def test_without_the_mask_padding_would_count():
    model = km.insert_after(encoder(), "hidden", LAYER, mask=False)
    statistics(model, data())
    layer = model.get_layer("hidden_monosemantic_inhibition")
    assert numbers(layer.count).max() == 48.0


def test_predictions_stay_and_training_counts_the_same():
    model = encoder()
    big = km.insert_after(model, "hidden", LAYER)
    x = data()
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), big.predict(x, verbose=0)
    )
    big.compile("sgd", "mse")
    big.fit(x, np.zeros((8, 3)), batch_size=4, verbose=0)
    layer = big.get_layer("hidden_monosemantic_inhibition")
    assert numbers(layer.count).max() == x["padding_mask"].sum()


def test_the_table_says_which_mask():
    table = km.insert_after(encoder(), ["hidden", "pooled"], LAYER, dry_run=True)
    assert [row["mask"] for row in table] == ["padding_mask", None]


@pytest.mark.parametrize(
    ("model", "where", "mask", "message"),
    [
        (encoder(), "pooled", None, "'padding_mask', which cannot be given.*pooled"),
        (nested(), "deep", None, "(?s)'padding_mask'.*inner/deep.*`mask=False`"),
        (encoder(), "hidden", "padding", "must name an input of the model.*tokens"),
        (encoder("keep"), "pooled", "keep", "'keep', which cannot be given"),
    ],
)
def test_padding_that_nobody_is_given_is_an_error(model, where, mask, message):
    with pytest.raises(ValueError, match=message):
        km.insert_after(model, where, LAYER, mask=mask)
    km.insert_after(model, where, LAYER, mask=False)


def test_several_padding_inputs_have_to_be_named():
    model = encoder("encoder_padding_mask")
    other = keras.Input((6,), name="decoder_padding_mask")
    both = keras.Model({**model.input, "decoder_padding_mask": other}, model.output)
    with pytest.raises(ValueError, match="cannot be told from its graph: hidden"):
        km.insert_after(both, "hidden", LAYER)
    km.insert_after(both, "hidden", LAYER, mask="encoder_padding_mask")


def test_a_keras_mask_and_a_padding_mask_both_hold():
    layer = km.layers.MonosemanticScale(axis=-1)
    z = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    mask = np.array([[True, True, False], [True, True, True]])
    layer(z, mask=mask, padding_mask=np.array([[0, 1, 1], [1, 1, 1]]), training=True)
    np.testing.assert_array_equal(numbers(layer.count), 4.0)
