"""A mask belongs to a layer that depends on what it marks and has its positions."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import dense
from support.training import numbers

LAYER = km.layers.MonosemanticScale(axis=-1)


def tokens(name, length=None):
    return keras.Input((length,), dtype="int32", name=name)


def embedded(x, name):
    return keras.layers.Embedding(30, 4, name=name)(x)


def attended(query, value, name):
    attention = keras.layers.MultiHeadAttention(1, 4, name=f"{name}_attention")
    return dense(4, name)(query + attention(query, value))


def two_texts(length=None, names=("encoder_token_ids", "decoder_token_ids")):
    source, target = (tokens(name, length) for name in names)
    marked = [tokens(f"{side}_padding_mask", length) for side in ("encoder", "decoder")]
    x = dense(4, "encoder")(embedded(source, "encoder_embedding"))
    y = attended(embedded(target, "decoder_embedding"), x, "decoder")
    inputs = {x.name: x for x in (source, target, *marked)}
    return keras.Model(inputs, [x, y], name="texts")


def sound_and_text():
    """Sound of any length, which nobody marks, goes into the text by attention."""
    sound = keras.Input((None, 3), name="encoder_features")
    text, mask = tokens("decoder_token_ids"), tokens("decoder_padding_mask")
    x = keras.layers.Conv1D(4, 3, strides=2, name="encoder")(sound)
    y = attended(embedded(text, "embedding"), x, "decoder")
    inputs = {x.name: x for x in (sound, text, mask)}
    return keras.Model(inputs, [x, y], name="sound")


def image_before_text():
    """Four positions of an image stand before those of the text."""
    image = keras.Input((4, 6), name="images")
    text, mask = tokens("token_ids"), tokens("padding_mask")
    x = dense(4, "image")(image)
    y = keras.layers.Concatenate(axis=1)([x, embedded(text, "embedding")])
    y = dense(4, "both")(y)
    inputs = {x.name: x for x in (image, text, mask)}
    return keras.Model(inputs, y, name="image_text")


def shorter(**arguments):
    text, mask = tokens("token_ids"), tokens("padding_mask")
    x = embedded(text, "embedding")
    x = keras.layers.Conv1D(4, 3, name="conv", **arguments)(x)
    return keras.Model({"token_ids": text, "padding_mask": mask}, x, name="shorter")


def padded(lengths, longest):
    mask = np.arange(longest) < np.array(lengths)[:, None]
    ids = np.random.default_rng(0).integers(1, 30, size=mask.shape) * mask
    return ids, mask.astype("int32")


def counts(model, data):
    km.calibrate(model, data)
    return {
        row["layer"]: numbers(model.get_layer(row["layer"]).count).max()
        for row in km.status(model)
    }


def masks(model, where, **arguments):
    table = km.insert_after(model, where, LAYER, dry_run=True, **arguments)
    return {row["after"]: row["mask"] for row in table}


@pytest.mark.parametrize("length", [None, 6])
def test_each_of_two_sequences_has_its_own_mask(length):
    where = ["encoder", "decoder_embedding"]
    big = km.insert_after(two_texts(length), where, LAYER)
    source, source_mask = padded([2, 5, 6], 6)
    target, target_mask = padded([3, 1, 4], length or 4)
    found = counts(
        big,
        {
            "encoder_token_ids": source,
            "encoder_padding_mask": source_mask,
            "decoder_token_ids": target,
            "decoder_padding_mask": target_mask,
        },
    )
    assert found == {
        "encoder_monosemantic_scale": 13,
        "decoder_embedding_monosemantic_scale": 8,
    }


def test_attention_to_another_sequence_keeps_the_mask_of_the_own():
    assert masks(two_texts(), "decoder") == {"decoder": "decoder_padding_mask"}


@pytest.mark.one_backend
def test_sequences_of_one_fixed_length_cannot_be_told_apart():
    model = two_texts(6)
    with pytest.raises(ValueError, match=r"(?s)cannot be told.*decoder.*`mask=False`"):
        km.insert_after(model, ["encoder", "decoder"], LAYER)
    mask = "decoder_padding_mask"
    assert masks(model, "decoder", mask=mask) == {"decoder": mask}
    assert masks(model, "decoder", mask=False) == {"decoder": None}


@pytest.mark.one_backend
def test_a_mask_whose_name_tells_nothing_is_not_guessed():
    model = two_texts(names=("question", "answer"))
    with pytest.raises(ValueError, match=r"cannot be told from its graph: encoder\."):
        km.insert_after(model, "encoder", LAYER)
    mask = "encoder_padding_mask"
    assert masks(model, "encoder", mask=mask) == {"encoder": mask}


@pytest.mark.one_backend
def test_the_mask_of_another_modality_marks_nothing():
    big = km.insert_after(sound_and_text(), ["encoder", "decoder"], LAYER)
    text, mask = padded([1, 3], 4)
    sound = np.ones((2, 9, 3), "float32")
    found = counts(
        big,
        {
            "encoder_features": sound,
            "decoder_token_ids": text,
            "decoder_padding_mask": mask,
        },
    )
    assert found == {
        "encoder_monosemantic_scale": 2 * 4,
        "decoder_monosemantic_scale": 4,
    }


@pytest.mark.one_backend
def test_a_mask_that_is_named_for_another_modality_is_an_error():
    with pytest.raises(ValueError, match="cannot be given to the layers after encoder"):
        km.insert_after(sound_and_text(), "encoder", LAYER, mask="decoder_padding_mask")


@pytest.mark.one_backend
@pytest.mark.parametrize("mask", [None, "padding_mask"])
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (image_before_text, "both"),
        (lambda: shorter(strides=2, padding="same"), "conv"),
        (shorter, "conv"),
    ],
)
def test_positions_that_the_mask_does_not_have_are_an_error(make, where, mask):
    with pytest.raises(ValueError, match=f"(?s)layers after {where}:.*`mask=False`"):
        km.insert_after(make(), where, LAYER, mask=mask)
    assert masks(make(), where, mask=False) == {where: None}


def test_what_does_not_depend_on_marked_inputs_needs_no_mask():
    assert masks(image_before_text(), ["image", "embedding"]) == {
        "image": None,
        "embedding": "padding_mask",
    }


@pytest.mark.one_backend
def test_inputs_that_have_to_be_equally_long_share_the_mask():
    text, kind, mask = (tokens(n) for n in ("token_ids", "segment_ids", "padding_mask"))
    pitch = keras.Input((None, 2), name="pitch")
    parts = [embedded(text, "text"), embedded(kind, "kind"), dense(4, "tone")(pitch)]
    inputs = {x.name: x for x in (text, kind, pitch, mask)}
    model = keras.Model(inputs, keras.layers.Add(name="sum")(parts))
    where = ["text", "kind", "tone", "sum"]
    assert masks(model, where) == dict.fromkeys(where, "padding_mask")


@pytest.mark.one_backend
def test_each_of_two_sequences_may_have_several_inputs():
    sides = ("encoder", "decoder")
    inputs, outputs = {}, []
    for side in sides:
        ids, kinds = (tokens(f"{side}_{n}") for n in ("token_ids", "segment_ids"))
        x = embedded(ids, f"{side}_ids") + embedded(kinds, f"{side}_kinds")
        outputs.append(attended(x, outputs[0], side) if outputs else dense(4, side)(x))
        marked = tokens(f"{side}_padding_mask")
        inputs |= {x.name: x for x in (ids, kinds, marked)}
    model = keras.Model(inputs, outputs)
    found = masks(model, [*sides, "encoder_kinds", "decoder_kinds"])
    assert found == {
        **{side: f"{side}_padding_mask" for side in sides},
        **{f"{side}_kinds": f"{side}_padding_mask" for side in sides},
    }


@pytest.mark.one_backend
def test_inputs_that_may_differ_in_length_do_not_share_the_mask():
    boxes, labels = keras.Input((None, 5), name="boxes"), tokens("box_labels")
    text, mask = tokens("token_ids"), tokens("padding_mask")
    x = dense(4, "box")(boxes) + embedded(labels, "label")
    y = attended(embedded(text, "text"), x, "both")
    inputs = {x.name: x for x in (boxes, labels, text, mask)}
    model = keras.Model(inputs, y)
    found = masks(model, ["box", "label", "both"])
    assert found == {"box": None, "label": None, "both": "padding_mask"}


def test_a_shared_layer_gets_the_mask_of_each_call():
    sides = ("encoder", "decoder")
    ids = [tokens(f"{side}_token_ids") for side in sides]
    marks = [tokens(f"{side}_padding_mask") for side in sides]
    shared = keras.layers.Embedding(30, 4, name="shared")
    model = keras.Model([*ids, *marks], [shared(x) for x in ids])
    big = km.insert_after(model, "shared", LAYER)
    (one, one_mask), (two, two_mask) = padded([2, 5], 6), padded([1, 3], 4)
    assert counts(big, [one, two, one_mask, two_mask]) == {
        "shared_monosemantic_scale": 7 + 4
    }


def nested(image, make):
    """A model of images or text inside a model that marks the padding of the text."""
    pixels = keras.Input((6, 3), name="images")
    text, mask = tokens("token_ids", 6), tokens("padding_mask", 6)
    x = make(pixels if image else embedded(text, "embedding"))
    inputs = {x.name: x for x in (pixels, text, mask)}
    return keras.Model(inputs, x, name="outer")


def functional_part(x):
    z = keras.Input(x.shape[1:])
    return keras.Model(z, dense(4, "deep")(z), name="inner")(x)


def sequential_part(x):
    layers = [keras.Input(x.shape[1:]), dense(4, "deep")]
    return keras.Sequential(layers, name="inner")(x)


def deeper_part(x):
    z = keras.Input(x.shape[1:])
    return keras.Model(z, sequential_part(functional_like(z)), name="middle")(x)


def functional_like(x):
    return dense(4, "before")(x)


PARTS = [functional_part, sequential_part, deeper_part]


@pytest.mark.one_backend
@pytest.mark.parametrize("make", PARTS)
def test_a_nested_model_of_what_is_marked_is_an_error(make):
    with pytest.raises(ValueError, match=r"'padding_mask', which cannot.*deep"):
        km.insert_after(nested(False, make), "*deep", LAYER)


@pytest.mark.one_backend
@pytest.mark.parametrize("make", PARTS)
def test_a_nested_model_of_another_modality_is_not(make):
    assert [*masks(nested(True, make), "*deep").values()] == [None]
