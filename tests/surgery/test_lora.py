"""KerasHub's LoRA and inserted layers, in either order, with its files of weights."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import same
from support.training import numbers

hub = pytest.importorskip("keras_hub")  # needs a newer Keras than the oldest of ours

LAYER = km.layers.MonosemanticInhibition(axis=-1, start_step=1)
# Ours in front of the blocks move what LoRA trains to other numbers.
WHERE = ["embeddings_add", "transformer_layer_*"]
X = {
    "token_ids": np.arange(1, 25).reshape(4, 6),
    "segment_ids": np.zeros((4, 6), "int32"),
    "padding_mask": np.ones((4, 6), "int32"),
}


def bert():
    return hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=6,
    )


def lora_weights(model):
    return [w for w in model.trainable_weights if "lora_kernel" in w.path]


def randomize(model, seed):
    for w in lora_weights(model):
        w.assign(np.random.default_rng(seed).normal(size=w.shape))


def output(model):
    found = model(keras.tree.map_structure(keras.ops.convert_to_tensor, X))
    return [numbers(found["sequence_output"])]


def trained_with_lora(order):
    backbone = bert()
    if order == "lora, then insert":
        backbone.enable_lora(2)
        return backbone, km.insert_after(backbone, WHERE, LAYER)
    big = km.insert_after(backbone, WHERE, LAYER)
    big.enable_lora(2)
    return backbone, big


@pytest.mark.parametrize("order", ["lora, then insert", "insert, then lora"])
def test_inserted_layers_learn_and_only_lora_is_trained(order):
    _, big = trained_with_lora(order)
    alone = bert()
    alone.enable_lora(2)
    trained = [w.path for w in alone.trainable_weights]
    assert [w.path for w in big.trainable_weights] == trained
    task = hub.models.BertTextClassifier(big, num_classes=2, preprocessor=None)
    task.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    task.jit_compile = keras.backend.backend() == "jax"
    before = [numbers(w) for w in big.weights]
    task.train_on_batch(X, np.array([0, 1, 0, 1]))
    moved = {
        w.path
        for w, value in zip(big.weights, before, strict=True)
        if not same([numbers(w)], [value]) and "monosemantic" not in w.path
    }
    assert moved
    assert moved <= {*trained}
    assert [row["steps"] for row in km.status(task)] == [1, 1, 1]
    assert all(row["on"] for row in km.status(task))


@pytest.mark.parametrize("edit", ["insert", "insert twice", "strip"])
def test_lora_files_fit_the_plain_and_the_changed_model(edit, tmp_path):
    backbone = bert()
    backbone.enable_lora(2)
    big = km.insert_after(backbone, WHERE, LAYER)
    if edit == "insert twice":
        big = km.insert_after(big, "embeddings_dropout", LAYER)
    if edit == "strip":
        big = km.strip(big)
    randomize(backbone, 1)
    expected = output(backbone)
    backbone.save_lora_weights(tmp_path / "plain.lora.h5")
    big.save_lora_weights(tmp_path / "changed.lora.h5")
    for model, name in ((big, "plain"), (backbone, "changed")):
        randomize(backbone, 2)
        assert not same(output(backbone), expected)
        model.load_lora_weights(tmp_path / f"{name}.lora.h5")
        assert same(output(backbone), expected)
        assert same(output(big), expected)


@pytest.mark.one_backend
def test_loading_into_a_model_without_lora_leaves_inserted_layers_on(tmp_path):
    backbone = bert()
    backbone.enable_lora(2)
    randomize(backbone, 1)
    backbone.save_lora_weights(tmp_path / "plain.lora.h5")
    expected = [numbers(w) for w in lora_weights(backbone)]
    big = km.insert_after(bert(), WHERE, LAYER)
    frozen = big.get_layer("embeddings_add_monosemantic_inhibition")
    frozen.trainable = False
    big.load_lora_weights(tmp_path / "plain.lora.h5")
    assert same([numbers(w) for w in lora_weights(big)], expected)
    ours = [big.get_layer(row["layer"]) for row in km.status(big)]
    assert sorted(x.trainable for x in ours) == [False, True, True]


@pytest.mark.one_backend
def test_each_changed_model_keeps_its_own_layers_on():
    backbone = bert()
    big = km.insert_after(backbone, WHERE, LAYER)
    again = km.insert_after(big, "embeddings_dropout", LAYER)
    again.enable_lora(1)
    assert [again.get_layer(r["layer"]).trainable for r in km.status(again)] == 4 * [
        True
    ]
    assert "enable_lora" not in vars(backbone)
