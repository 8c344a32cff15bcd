"""One call puts the layers into an existing model, which stays what it was."""

import re

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import (
    CASES,
    INHIBITION,
    LAYER,
    Counting,
    data,
    dense,
    functional,
    names,
    ours,
    predict,
    same,
    sequential,
)
from support.training import numbers


@pytest.mark.parametrize("case", CASES)
def test_outputs_names_and_weights_stay(case):
    make, x, where = CASES[case]
    model = make()
    big = km.insert_after(model, where, LAYER)
    assert type(big) is type(model)
    assert big.name == model.name
    assert same(predict(big, x), predict(model, x))
    kept = [w for w in big.weights if "monosemantic" not in w.path]
    assert [w.path for w in kept] == [w.path for w in model.weights]
    assert all(a is b for a, b in zip(kept, model.weights, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_the_result_trains_and_the_original_stays_usable(case):
    make, x, where = CASES[case]
    model = make()
    big = km.insert_after(model, where, LAYER)
    y = {"left": np.ones((24, 1)), "right": np.ones((24, 2))}
    y = y if case == "functional" else np.ones((24, 2))
    big.compile("sgd", "mse")
    big.fit(x, y, batch_size=8, epochs=2, verbose=0)
    calls = [2 if "shared" in row["layer"] else 1 for row in km.status(big)]
    assert [row["steps"] for row in km.status(big)] == [6 * n for n in calls]
    assert same(predict(big, x), predict(model, x))  # weights are shared
    assert not ours(model)
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=8, verbose=0)


def test_the_inserted_model_is_saved_and_loaded(tmp_path):
    model = functional()
    big = km.insert_after(model, ["shared", "deep"], LAYER)
    x = CASES["functional"][1]
    km.calibrate(big, x, batch_size=8)
    big.save(tmp_path / "big.keras")
    loaded = keras.saving.load_model(tmp_path / "big.keras")
    assert same(predict(loaded, x), predict(model, x))
    assert list(km.status(loaded)) == list(km.status(big))


def test_a_sequential_keeps_its_order():
    big = km.insert_after(sequential(), "block_1", LAYER)
    assert names(big) == [
        "block_0",
        "block_1",
        "block_1_monosemantic_inhibition",
        "block_2",
        "block_3",
        "head",
    ]


def test_a_sequential_that_is_not_built_yet():
    model = keras.Sequential([dense(4, "one"), dense(2, "two")])
    big = km.insert_after(model, "one", LAYER)
    assert big.predict(data(), verbose=0).shape == (24, 2)
    assert names(big) == ["one", "one_monosemantic_inhibition", "two"]


def test_calls_of_a_layer_with_weights_share_one_inserted_layer():
    big = km.insert_after(functional(), "shared", LAYER)
    assert ours(big) == ["shared_monosemantic_inhibition"]
    x = CASES["functional"][1]
    big.compile("sgd", "mse")
    y = {"left": np.ones((24, 1)), "right": np.ones((24, 2))}
    big.fit(x, y, batch_size=24, verbose=0)
    layer = big.get_layer("shared_monosemantic_inhibition")
    np.testing.assert_array_equal(numbers(layer.count), 48.0)


def test_calls_on_different_forms_and_layers_without_weights_do_not_share():
    tokens, vector = keras.Input((5, 8)), keras.Input((8,))
    shared, relu = dense(8, "shared"), keras.layers.ReLU(name="relu")
    a, b = relu(shared(tokens)), relu(relu(shared(vector)))
    model = keras.Model([tokens, vector], [a, b])
    found = ours(km.insert_after(model, ["shared", "relu"], LAYER))
    assert sorted(found) == [
        "relu_monosemantic_inhibition",
        "relu_monosemantic_inhibition_1",
        "relu_monosemantic_inhibition_2",
        "shared_monosemantic_inhibition",
        "shared_monosemantic_inhibition_1",
    ]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("block_2", [2]),
        ("block_[13]", [1, 3]),
        (re.compile(r"block_(0|2)"), [0, 2]),
        (["block_3", "block_0"], [0, 3]),
        (lambda layer: layer.name.endswith("1"), [1]),
    ],
    ids=["name", "glob", "regex", "list", "predicate"],
)
def test_what_where_means(where, expected):
    found = ours(km.insert_after(sequential(), where, LAYER))
    assert found == [f"block_{i}_monosemantic_inhibition" for i in expected]


def test_a_class_and_what_is_excluded():
    found = ours(km.insert_after(sequential(), keras.layers.Dense, LAYER, "head"))
    assert found == [f"block_{i}_monosemantic_inhibition" for i in range(4)]


def test_a_path_names_a_layer_of_a_nested_model():
    table = km.insert_after(functional(), "nested/deep", LAYER, dry_run=True)
    assert [row["after"] for row in table] == ["nested/deep"]
    assert len(km.insert_after(functional(), "nested", LAYER, dry_run=True)) == 1


def test_layers_of_this_library_are_never_followed():
    once = km.insert_after(sequential(), "block_1", LAYER)
    twice = km.insert_after(once, "*", km.layers.MonosemanticScale(), exclude="head")
    assert len(ours(twice)) == 1 + 4
    again = km.insert_after(once, "block_1", LAYER)
    assert "block_1_monosemantic_inhibition_1" in ours(again)


def test_dry_run_gives_a_table():
    model = sequential()
    table = km.insert_after(model, "block_[12]", LAYER, dry_run=True)
    assert list(table) == [
        {
            "after": f"block_{i}",
            "insert": f"block_{i}_monosemantic_inhibition",
            "shape": "(None, 8)",
            "neurons": 8,
            "mask": None,
        }
        for i in (1, 2)
    ]
    assert "block_2_monosemantic_inhibition" in str(table)
    assert "<table>" in table._repr_html_()
    assert list(table.to_frame()["after"]) == ["block_1", "block_2"]
    assert not ours(model)


def test_compilation_is_carried_over_with_an_optimizer_of_its_own():
    model = sequential()
    model.compile(keras.optimizers.Adam(0.125), "mae", metrics=["mse"])
    big = km.insert_after(model, "block_1", LAYER)
    assert float(numbers(big.optimizer.learning_rate)) == 0.125
    assert big.optimizer is not model.optimizer
    assert big.loss == "mae"
    big.fit(data(), np.ones((24, 2)), verbose=0)


def test_a_class_with_methods_of_its_own_is_kept():
    model = Counting(6, name="counting")
    big = km.insert_after(model, "hidden", LAYER)
    assert type(big) is Counting
    assert big.describe() == "6 units after hidden"
    assert big.hidden is model.hidden
    assert type(km.strip(big)) is Counting
    assert same(predict(big, data()), predict(model, data()))


def test_what_is_frozen_stays_frozen_and_the_layer_learns():
    model = functional()
    model.get_layer("nested").trainable = False
    model.get_layer("shared").trainable = False
    big = km.insert_after(model, ["shared", "deep"], LAYER)
    assert len(big.trainable_weights) == len(model.trainable_weights)
    before = [numbers(w) for w in model.get_layer("nested").weights]
    big.compile("sgd", "mse")
    y = {"left": np.ones((24, 1)), "right": np.ones((24, 2))}
    big.fit(CASES["functional"][1], y, verbose=0)
    after = [numbers(w) for w in model.get_layer("nested").weights]
    assert same(before, after)
    assert all(row["steps"] for row in km.status(big))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_low_precision_is_not_widened(policy):
    inputs = keras.Input((8,))
    x = keras.layers.Dense(8, dtype=policy, name="hidden")(inputs)
    model = keras.Model(inputs, x + x * 0.5)  # operations do not cast
    big = km.insert_after(model, "hidden", LAYER)
    assert big.output.dtype == model.output.dtype
    x = data()
    assert same(
        [numbers(keras.ops.cast(model(x), "float32"))],
        [numbers(keras.ops.cast(big(x), "float32"))],
    )


def test_keras_masks_reach_the_inserted_layer():
    tokens = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    x = keras.layers.Dense(4, name="hidden")(x)
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(x))
    big = km.insert_after(model, "hidden", LAYER)
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0]])
    km.calibrate(big, x)
    layer = big.get_layer("hidden_monosemantic_inhibition")
    np.testing.assert_array_equal(numbers(layer.count), 5.0)
    assert same(predict(big, x), predict(model, x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = dense(4, "hidden")

    def call(self, x):
        return self.hidden(x)


class Block(keras.layers.Layer):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.inside = dense(8, "inside")

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x):
        return self.inside(x)


def with_block():
    return keras.Sequential([keras.Input((8,)), Block(name="block"), dense(2, "head")])


def two_outputs():
    inputs = keras.Input((5, 8))
    outputs = keras.layers.LSTM(4, return_state=True, name="lstm")(inputs)
    return keras.Model(inputs, outputs)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("make", "where", "message"),
    [
        (
            sequential,
            "blok_1",
            "matches no layer.*Did you mean 'block_1'.*block_0, blo",
        ),
        (sequential, "block_[1", "matches no layer of model 'chain'.*Its layers"),
        (sequential, re.compile("x"), "matches no layer"),
        (sequential, ["block_1", "nothing"], "where='nothing'"),
        (sequential, [], "`where` is empty"),
        (sequential, 3, "Received: 3 of type int"),
        (sequential, keras.layers.Conv2D, "matches no layer"),
        (with_block, "inside", "inside a block, which the model's graph.*activation"),
        (with_block, "block/inside", "inside a block"),
        (Subclassed, "hidden", r"Functional or Sequential.*self\.inhibition\(x"),
        (two_outputs, "lstm", "has 3 outputs"),
        (lambda: keras.layers.Dense(2), "x", "Functional or Sequential"),
        (lambda: "model", "x", "Expected a Keras model"),
    ],
)
def test_what_cannot_be_followed_is_an_error(make, where, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        km.insert_after(make(), where, LAYER)


@pytest.mark.one_backend
def test_other_errors():
    with pytest.raises(ValueError, match="`layer` must be a layer of this library"):
        km.insert_after(sequential(), "head", keras.layers.Dropout(0.1))
    with pytest.raises(ValueError, match="`exclude` leaves nothing"):
        km.insert_after(sequential(), "block_1", LAYER, exclude="block_*")
    with pytest.raises(ValueError, match=r"`exclude` matches no layer.*'blok'"):
        km.insert_after(sequential(), "block_1", LAYER, exclude="blok")
    with pytest.raises(ValueError, match="`mask` must be the name"):
        km.insert_after(sequential(), "head", LAYER, mask=3)
    tokens = keras.Input((None, 4))
    model = keras.Model(tokens, dense(4, "hidden")(tokens))
    with pytest.raises(ValueError, match=r"axis=-1"):
        km.insert_after(model, "hidden", INHIBITION())
