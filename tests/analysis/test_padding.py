"""Padding counts in no figure, however a layer is told of it or not told."""

import keras
import keras_hub
import numpy as np
import pytest

import keras_mono as km

A = km.analysis
LENGTH, WORDS = 6, 9


def tokens():
    rng = np.random.default_rng(0)
    kept = np.arange(LENGTH) < rng.integers(1, LENGTH + 1, size=(20, 1))
    return rng.integers(1, WORDS, size=(20, LENGTH)) * kept


def there():
    return tokens() != 0


def counted(model, x, name):
    """Which inputs a layer's activations are taken from."""
    z = A.activations(model, x, [name], batch_size=7, masked=np.nan)[name]
    return np.isfinite(z[..., 0])


class Doubles(keras.layers.Layer):
    """Supports no masks, as most layers that users write."""

    def call(self, inputs):
        return inputs * 2.0


class Block(keras.layers.Layer):
    """A layer with layers inside and a residual connection in Python."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(2, 2)
        self.normalization = keras.layers.LayerNormalization()

    def call(self, inputs):
        return self.normalization(inputs + self.attention(inputs, inputs))


def masked_model():
    layers = keras.layers
    x = keras.Input((LENGTH,), dtype="int32")
    e = layers.Embedding(WORDS, 4, mask_zero=True, name="embedding")(x)
    d = layers.Dense(4, name="dense")(e)
    attention = layers.MultiHeadAttention(2, 2, name="attention")(d, d)
    by_name = layers.MultiHeadAttention(2, 2, name="by_name")(query=d, value=e)
    residual = layers.Add(name="residual")([d, attention])
    lost = Doubles(name="lost")(d)
    blocks = Block(name="block_2")(Block(name="block_1")(d))
    inner = keras.Input((LENGTH, 4))
    nested = keras.Model(inner, layers.Dense(3, name="inside")(inner), name="nested")
    outputs = [
        layers.Add(name="added")([e, d]),
        layers.Concatenate(name="concatenate")([e, d]),
        by_name,
        layers.Dense(3, name="after_residual")(residual),
        layers.Dense(3, name="after_sum")(d + attention),
        layers.Dense(3, name="after_lost")(lost),
        layers.LSTM(3, return_sequences=True, name="lstm")(d),
        layers.Dropout(0.5, name="after_attention")(d),
        nested(d),
        blocks,
    ]
    return keras.Model(x, outputs)


NAMES = [
    "embedding",
    "dense",
    "attention",
    "by_name",
    "residual",
    "added",
    "concatenate",
    "after_residual",
    "after_sum",
    "lost",
    "after_lost",
    "lstm",
    "after_attention",
    "inside",
    "block_1",
    "block_2",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_in_models_with_keras_masks():
    model = masked_model()
    found = A.activations(model, tokens(), NAMES, batch_size=7, masked=np.nan)
    for name in NAMES:
        np.testing.assert_array_equal(np.isfinite(found[name][..., 0]), there(), name)


def test_a_layer_called_by_keyword():
    class Called(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(WORDS, 4, mask_zero=True)
            self.dense = keras.layers.Dense(4, name="dense")

        def call(self, inputs):
            return self.dense(inputs=self.embedding(inputs))

    model = Called()
    model(tokens())
    np.testing.assert_array_equal(counted(model, tokens(), "dense"), there())


def test_positions_one_after_another():
    x = keras.Input((LENGTH,), dtype="int32")
    masked = keras.layers.Embedding(WORDS, 4, mask_zero=True)(x)
    plain = keras.layers.Embedding(WORDS, 4)(x)
    y = keras.layers.Concatenate(axis=1, name="both")([masked, plain])
    expected = np.concatenate([there(), np.ones_like(there())], axis=1)
    found = counted(keras.Model(x, y), tokens(), "both")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_without_padding_everything_counts():
    x = np.maximum(tokens(), 1)
    found = A.activations(masked_model(), x, NAMES, batch_size=7, masked=np.nan)
    for name in NAMES:
        assert np.isfinite(found[name]).all(), name


def hub_model():
    """The mask is an input, and an argument of the blocks; other layers lie around."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(WORDS, 4, name="embedding")(ids)
    x = keras_hub.layers.TransformerEncoder(8, 2, name="encoder")(x, padding_mask=mask)
    x = keras_hub.layers.TransformerDecoder(8, 2, name="decoder")(
        x, decoder_padding_mask=mask
    )
    x = keras_hub.layers.TransformerDecoder(8, 2, name="crossing")(
        x, 2 * x, decoder_padding_mask=mask, encoder_padding_mask=mask * 0 + 1
    )
    x = keras.layers.LayerNormalization(name="last")(x)
    return keras.Model({"token_ids": ids, "padding_mask": mask}, x)


def test_padding_as_an_argument_of_the_layers_or_an_input_of_the_model():
    x = {"token_ids": tokens(), "padding_mask": there().astype("int64")}
    model = hub_model()
    for name in ("embedding", "encoder", "decoder", "crossing", "last"):
        np.testing.assert_array_equal(counted(model, x, name), there(), name)


def test_the_mask_of_one_modality_is_not_that_of_another():
    features = keras.Input((LENGTH, 3), name="encoder_features")
    ids = keras.Input((LENGTH,), dtype="int32", name="decoder_token_ids")
    mask = keras.Input((LENGTH,), dtype="int32", name="decoder_padding_mask")
    sound = keras.layers.Dense(4, name="sound")(features)
    text = keras.layers.Embedding(WORDS, 4, name="text")(ids)
    text = keras_hub.layers.TransformerDecoder(8, 2, name="decoder")(
        text, sound, decoder_padding_mask=mask
    )
    inputs = {x.name: x for x in (features, ids, mask)}
    given = {
        "encoder_features": np.ones((20, LENGTH, 3), "float32"),
        "decoder_token_ids": tokens(),
        "decoder_padding_mask": there(),
    }
    model = keras.Model(inputs, text)
    assert counted(model, given, "sound").all()
    for name in ("text", "decoder"):
        np.testing.assert_array_equal(counted(model, given, name), there(), name)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_a_layer_of_this_library_behind_a_lost_mask():
    x = keras.Input((LENGTH,), dtype="int32")
    d = keras.layers.Embedding(WORDS, 4, mask_zero=True)(x)
    y = Doubles()(d)
    y = km.layers.MonosemanticInhibition(axis=-1, name="ours")(y)
    model = keras.Model(x, y)
    np.testing.assert_array_equal(counted(model, tokens(), "ours"), there())


def test_a_profile_is_that_of_the_inputs_without_padding():
    rng = np.random.default_rng(1)
    ids, labels = tokens(), rng.integers(3, size=(20, LENGTH))
    x = keras.Input((LENGTH,), dtype="int32")
    e = keras.layers.Embedding(WORDS, 5, mask_zero=True, name="embedding")(x)
    y = keras.layers.Add(name="add")([e, keras.layers.Dense(5)(e)])
    model = keras.Model(x, y)
    z = model.predict(ids, verbose=0)
    expected = A.feature_scores(z[there()], labels[there()])
    found = A.profile(model, ids, labels, ["add"], batch_size=7, verbose=0)["add"]
    assert found.inputs == there().sum()
    np.testing.assert_allclose(found.scores.phi, expected.phi, rtol=1e-4)
    np.testing.assert_array_equal(found.scores.best_feature, expected.best_feature)


def test_listening_changes_nothing_that_the_model_computes():
    """Not even where Keras loses a mask that is still known here."""
    x = keras.Input((LENGTH,), dtype="int32")
    d = keras.layers.Embedding(WORDS, 4, mask_zero=True)(x)
    y = keras.layers.Add()([d, keras.layers.MultiHeadAttention(2, 2)(d, d)])
    y = keras.layers.LSTM(3, name="last")(keras.layers.LayerNormalization()(y))
    model = keras.Model(x, y)
    found = A.activations(model, tokens(), ["last"])["last"]
    expected = keras.ops.convert_to_numpy(model(tokens()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not any("call" in vars(layer) for layer in model.layers)
