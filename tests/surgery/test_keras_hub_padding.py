"""KerasHub's models of several inputs: each layer gets the mask that is its own."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

pytestmark = pytest.mark.one_backend

hub = pytest.importorskip("keras_hub")  # needs a newer Keras than the oldest of ours

LAYER = km.layers.MonosemanticInhibition(axis=-1, start_step=1)
SMALL = {
    "vocabulary_size": 60,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 8,
}
BOTH = ["encoder_padding_mask", "decoder_padding_mask"]


def whisper(longest=20):
    return hub.models.WhisperBackbone(
        **SMALL,
        num_mels=4,
        max_encoder_sequence_length=longest,
        max_decoder_sequence_length=10,
    )


def moonshine():
    return hub.models.MoonshineBackbone(
        vocabulary_size=60,
        filter_dim=8,
        encoder_num_layers=1,
        decoder_num_layers=1,
        hidden_dim=8,
        intermediate_dim=8,
        encoder_num_heads=2,
        decoder_num_heads=2,
    )


def pali_gemma():
    return hub.models.PaliGemmaBackbone(
        vocabulary_size=60,
        image_size=16,
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
        head_dim=4,
        vit_patch_size=8,
        vit_num_heads=2,
        vit_hidden_dim=8,
        vit_num_layers=1,
        vit_intermediate_dim=8,
    )


def video_prism():
    return hub.models.VideoPrismBackbone(
        num_frames=2,
        patch_size=4,
        hidden_dim=8,
        intermediate_dim=8,
        num_heads=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=1,
        vocabulary_size=60,
        num_text_layers=1,
        image_shape=(8, 8, 3),
    )


def masks(model, where, **arguments):
    table = km.insert_after(model, where, LAYER, dry_run=True, **arguments)
    return [row["mask"] for row in table]


def padded(lengths, longest):
    mask = np.arange(longest) < np.array(lengths)[:, None]
    return np.where(mask, 5, 0), mask.astype("int32")


def counts(model, data):
    km.calibrate(model, data)
    return [
        numbers(model.get_layer(row["layer"]).count).max() for row in km.status(model)
    ]


@pytest.mark.slow
def test_whisper_counts_all_of_the_sound_and_the_text_that_is_there():
    where = ["transformer_encoder_layer_0", "transformer_decoder_layer_0"]
    big = km.insert_after(whisper(), where, LAYER)
    ids, mask = padded([1, 3], 4)
    sound = np.random.default_rng(0).normal(size=(2, 16, 4)).astype("float32")
    data = {"encoder_features": sound, "decoder_token_ids": ids}
    found = counts(big, {**data, "decoder_padding_mask": mask})
    assert sorted(found) == [4, 2 * 8]


@pytest.mark.parametrize("longest", [12, 3000])
def test_whisper_of_any_length(longest):
    where = ["*encoder*", "*decoder*"]
    model = whisper(longest)
    table = km.insert_after(model, where, LAYER, dry_run=True)
    assert {(r["after"].count("encoder"), r["mask"]) for r in table} == {
        (1, None),
        (0, "decoder_padding_mask"),
    }


@pytest.mark.slow
def test_moonshine_takes_the_mask_that_it_computes_for_its_encoder():
    model = moonshine()
    assert masks(model, "decoder_block_0") == ["decoder_padding_mask"]
    for mask in (None, "encoder_padding_mask"):
        with pytest.raises(
            ValueError, match=r"(?s)after encoder_block_0.*`mask=False`"
        ):
            km.insert_after(model, "encoder_block_0", LAYER, mask=mask)
    mask = "compute_attention_mask"
    big = km.insert_after(model, "encoder_block_0", LAYER, mask=mask)
    heard = np.arange(2400) < np.array([[1200], [2400]])
    ids, text = padded([1, 3], 4)
    data = {
        "encoder_input_values": np.where(heard, 0.5, 0.0)[..., None],
        "encoder_padding_mask": heard,
        "decoder_token_ids": ids,
        "decoder_padding_mask": text.astype(bool),
    }
    steps = lambda n: (((n - 127) // 64 + 1 - 7) // 3 + 1 - 3) // 2 + 1  # noqa: E731
    assert counts(big, data) == [steps(1200) + steps(2400)]


@pytest.mark.parametrize("mask", [None, "padding_mask"])
def test_pali_gemma_puts_an_image_before_the_text(mask):
    model = pali_gemma()
    with pytest.raises(ValueError, match=r"(?s)after decoder_block_0.*`mask=False`"):
        km.insert_after(model, "decoder_block_0", LAYER, mask=mask)
    assert masks(model, "decoder_block_0", mask=False) == [None]
    image = model.vit_encoder.name
    assert masks(model, ["token_embedding", image]) == ["padding_mask", None]


def test_video_and_text():
    model = video_prism()
    assert masks(model, ["*tial_encoder", "temporal*", "auxiliary*"]) == 4 * [None]
    with pytest.raises(ValueError, match="layers after text_encoder"):
        km.insert_after(model, "text_encoder", LAYER)  # a token of its own is added


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["T5", "Bart"])
def test_encoder_and_decoder_each_have_their_own(kind):
    more = {"max_sequence_length": 10} if kind == "Bart" else {}
    model = getattr(hub.models, f"{kind}Backbone")(**SMALL, **more)
    where = ["transformer_*_layer_0"]
    big = km.insert_after(model, where, LAYER, output=0)
    assert {*masks(model, where, output=0)} == {*BOTH}
    assert [", ".join(BOTH)] == masks(model, "token_embedding")
    (source, source_mask), (target, target_mask) = padded([2, 5], 6), padded([1, 3], 4)
    data = {"encoder_token_ids": source, "encoder_padding_mask": source_mask}
    data |= {"decoder_token_ids": target, "decoder_padding_mask": target_mask}
    assert sorted(counts(big, data)) == [4, 7]
    x = keras.tree.map_structure(keras.ops.convert_to_tensor, data)
    for a, b in zip(*(keras.tree.flatten(m(x)) for m in (model, big)), strict=True):
        np.testing.assert_array_equal(numbers(a), numbers(b))
