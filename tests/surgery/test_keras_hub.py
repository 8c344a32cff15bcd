"""KerasHub backbones and tasks of random small configurations keep all they can do."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import ours, same
from support.training import numbers

hub = pytest.importorskip("keras_hub")  # needs a newer Keras than the oldest of ours

LENGTH = 10
INHIBITION = km.layers.MonosemanticInhibition
PER_POSITION = INHIBITION(km.selectors.TopK(1, per="position"), axis=-1, start_step=1)
THRESHOLD = INHIBITION(0.1, axis=-1, start_step=1)
SMALL = {
    "vocabulary_size": 60,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}


def bert(layers=12):
    sizes = {"num_layers": layers, "max_sequence_length": LENGTH}
    return hub.models.BertBackbone(**SMALL, **sizes)


def causal(kind):
    sizes = {"num_layers": 4, "max_sequence_length": LENGTH}
    backbone = getattr(hub.models, f"{kind}Backbone")(**SMALL, **sizes)
    return getattr(hub.models, f"{kind}CausalLM")(backbone, preprocessor=None)


def tokens(n=8, segments=False):
    rng = np.random.default_rng(0)
    padding = (np.arange(LENGTH) < rng.integers(4, LENGTH, size=(n, 1))).astype("int32")
    x = {"token_ids": rng.integers(1, 60, size=padding.shape) * padding}
    x["padding_mask"] = padding
    return {**x, "segment_ids": np.zeros_like(padding)} if segments else x


def outputs(model, x):
    found = model(keras.tree.map_structure(keras.ops.convert_to_tensor, x))
    return [numbers(y) for y in keras.tree.flatten(found)]


def train(model, x, y, **arguments):
    """Two steps; `fit` of a task would need a data loader of its own."""
    model.jit_compile = keras.backend.backend() == "jax"  # TensorFlow: a minute each
    for start in (0, 4):
        part = keras.tree.map_structure(lambda a: a[start : start + 4], (x, y))  # noqa: B023
        model.train_on_batch(*part, **arguments)


@pytest.mark.one_backend  # the classifier, on every one, has such a backbone
def test_bert_backbone_as_in_the_paper():
    backbone = bert()
    middle = km.middle(backbone, "transformer_layer_*")
    assert middle == [f"transformer_layer_{i}" for i in (4, 5, 6, 7)]
    big = km.insert_after(backbone, middle, INHIBITION(axis=-1))
    x = tokens(segments=True)
    assert type(big) is hub.models.BertBackbone
    assert same(outputs(big, x), outputs(backbone, x))
    assert big.num_layers == 12
    assert big.token_embedding is backbone.token_embedding
    assert not ours(km.strip(big))
    assert type(km.strip(big)) is hub.models.BertBackbone


@pytest.mark.slow
def test_bert_classifier_trains_and_stays_a_task(tmp_path):
    task = hub.models.BertTextClassifier(bert(4), num_classes=3, preprocessor=None)
    big = km.insert_after(task, "transformer_layer_[12]", INHIBITION(axis=-1))
    x, y = tokens(segments=True), np.arange(8) % 3
    assert type(big) is hub.models.BertTextClassifier
    assert type(big.backbone) is hub.models.BertBackbone
    assert big.backbone is not task.backbone
    assert same(outputs(big, x), outputs(task, x))
    train(big, x, y)
    table = km.status(big)
    assert [row["steps"] for row in table] == [2, 2]
    layer = big.backbone.get_layer("transformer_layer_1_monosemantic_inhibition")
    assert numbers(layer.count).max() == x["padding_mask"].sum()
    assert same(outputs(big, x), outputs(task, x))  # the weights are shared
    back = km.strip(big)
    assert type(back) is hub.models.BertTextClassifier
    assert not ours(back)
    assert same(outputs(back, x), outputs(big, x))
    big.save_to_preset(tmp_path / "preset")
    preset = str(tmp_path / "preset")
    loaded = hub.models.TextClassifier.from_preset(preset, preprocessor=None)
    assert same(outputs(loaded, x), outputs(big, x))


@pytest.mark.one_backend  # small models have such masks on every one
def test_padding_is_found_by_itself():
    x = tokens(segments=True)
    padded = {**x, "token_ids": np.where(x["padding_mask"] == 0, 7, x["token_ids"])}
    found = []
    big = km.insert_after(bert(4), "transformer_layer_1", INHIBITION(axis=-1))
    for data in (x, padded):
        km.calibrate(big, data, batch_size=4)
        layer = big.get_layer("transformer_layer_1_monosemantic_inhibition")
        found.append([numbers(v) for v in layer.saved_variables()])
    assert same(*found)
    with pytest.raises(ValueError, match="padding_mask"):
        km.insert_after(bert(2), "pooled_dense", INHIBITION(axis=-1))


def test_a_preprocessor_stays():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    try:
        tokenizer = hub.models.BertTokenizer(vocabulary=vocabulary)
    except ImportError:
        pytest.skip("this tokenizer needs tensorflow-text")
    preprocessor = hub.models.BertTextClassifierPreprocessor(tokenizer, LENGTH)
    task = hub.models.BertTextClassifier(bert(2), 2, preprocessor=preprocessor)
    big = km.insert_after(task, "transformer_layer_0", INHIBITION(axis=-1))
    assert big.preprocessor is preprocessor


@pytest.mark.slow
@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("kind", "layer"), [("GPT2", PER_POSITION), ("GPTNeoX", THRESHOLD)]
)
def test_causal_models_train_and_generate(kind, layer):
    model = causal(kind)
    model.compile(sampler="greedy")
    middle = km.middle(model, "transformer_layer_*", count=2)
    big = km.insert_after(model, middle, layer)
    x = tokens()
    assert type(big) is type(model)
    assert type(big.sampler) is type(model.sampler)
    assert same(outputs(big, x), outputs(model, x))
    train(big, x, x["token_ids"], sample_weight=x["padding_mask"][:4].astype("float32"))
    assert [row["steps"] for row in km.status(big)] == [2, 2]
    prompt = {k: v * (np.arange(LENGTH) < 4) for k, v in x.items()}
    written = big.generate(prompt, stop_token_ids=None)
    expected = model.generate(prompt, stop_token_ids=None)
    np.testing.assert_array_equal(
        numbers(written["token_ids"]), numbers(expected["token_ids"])
    )
    assert (numbers(written["token_ids"]) != prompt["token_ids"]).any()


@pytest.mark.slow
@pytest.mark.one_backend
def test_a_vision_transformer():
    backbone = hub.models.ViTBackbone(
        image_shape=(16, 16, 3),
        patch_size=(8, 8),
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    )
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    task = hub.models.ViTImageClassifier(backbone, num_classes=2, preprocessor=None)
    # Its blocks lie inside one encoder layer, which is what the graph sees.
    with pytest.raises(ValueError, match="inside a block"):
        km.insert_after(task, "*transformer_block_[12]", INHIBITION(axis=-1))
    big = km.insert_after(task, "*encoder", INHIBITION(axis=-1))
    assert same(outputs(big, x), outputs(task, x))
    train(big, x, np.arange(8) % 2)
    assert [row["steps"] for row in km.status(big)] == [2]


def test_a_dense_inside_a_block_is_out_of_reach_and_the_error_says_what_works():
    with pytest.raises(ValueError, match=r"inside a block.*activation"):
        km.insert_after(bert(2), "*intermediate_dense", INHIBITION(axis=-1))


def test_the_way_that_works_inside_a_block():
    """The documented alternative: a layer of ours in the block's activation."""
    penalty = km.layers.MonosemanticPenalty(start_step=1, name="penalty")
    activation = keras.Sequential([keras.layers.Activation("gelu"), penalty])
    inputs = keras.Input((LENGTH, 8))
    block = hub.layers.TransformerEncoder(16, 2, activation=activation)
    model = keras.Model(inputs, keras.layers.Dense(1)(block(inputs)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(16, LENGTH, 8)).astype("float32")
    model.fit(x, x[..., :1], batch_size=4, verbose=0)
    assert int(penalty.step) == 4
    assert penalty.mean.shape[-1] == 16
    assert penalty.penalty != 0.0
