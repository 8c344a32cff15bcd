"""One of several outputs, and operations such as `x + residual`, can be followed."""

import re

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import (
    INHIBITION,
    LAYER,
    data,
    dense,
    functional,
    ours,
    predict,
    same,
    sequential,
)
from support.training import numbers

SEQUENCES = np.random.default_rng(0).normal(size=(6, 5, 8)).astype("float32")


def recurrent():
    inputs = keras.Input((5, 8))
    lstm = keras.layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")
    x, hidden, cell = lstm(inputs)
    return keras.Model(inputs, [dense(2, "head")(x), hidden, cell])


@pytest.mark.parametrize(("output", "shape"), [(0, "(None, 5, 4)"), (2, "(None, 4)")])
def test_one_of_several_outputs(output, shape):
    model = recurrent()
    table = km.insert_after(model, "lstm", LAYER, dry_run=True, output=output)
    assert [row["shape"] for row in table] == [shape]
    big = km.insert_after(model, "lstm", LAYER, output=output)
    assert same(predict(big, SEQUENCES), predict(model, SEQUENCES))
    km.calibrate(big, SEQUENCES)
    layer = big.get_layer("lstm_monosemantic_inhibition")
    assert numbers(layer.count).max() == (30 if output == 0 else 6)
    back = km.strip(big)
    assert same(predict(back, SEQUENCES), predict(model, SEQUENCES))


@keras.saving.register_keras_serializable("tests")
class Split(keras.layers.Layer):
    def call(self, x):
        return {"same": x, "double": 2.0 * x}


@pytest.mark.one_backend
def test_outputs_in_a_dict_are_counted_in_the_order_of_their_names(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, Split(name="split")(inputs))
    big = km.insert_after(model, "split", INHIBITION(), output=0)
    big.save(tmp_path / "big.keras")
    for each in (big, keras.saving.load_model(tmp_path / "big.keras")):
        km.calibrate(each, data())
        mean = numbers(each.get_layer("split_monosemantic_inhibition").mean)
        np.testing.assert_allclose(mean[0], 2 * data().mean(0), rtol=1e-4, atol=1e-6)


def splitting():
    head = keras.layers.Lambda(lambda parts: parts["same"], output_shape=(8,))
    return keras.Sequential([keras.Input((8,)), Split(name="split"), head])


def unbuilt():
    return keras.Sequential([dense(2, "head")])


@pytest.mark.one_backend
@pytest.mark.parametrize("make", [sequential, unbuilt])
def test_the_one_output_in_a_sequential_may_be_named(make):
    assert len(ours(km.insert_after(make(), "head", LAYER, output=0))) == 1


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("make", "where", "output", "message"),
    [
        (recurrent, "lstm", None, r"has 3 outputs.*`output=0`.*0: \(None, 5, 4\), 1:"),
        (recurrent, "lstm", 3, r"has 3 outputs.*output=3"),
        (recurrent, "head", 1, r"has 1 outputs.*output=1"),
        (recurrent, "lstm", -1, r"has 3 outputs.*output=-1"),
        (recurrent, "lstm", "lstm", r"has 3 outputs.*output='lstm'"),
        (recurrent, "lstm", True, r"has 3 outputs.*output=True"),
        (sequential, "head", 1, r"has 1 outputs.*output=1.*0: \(None, 2\)"),
        (sequential, "head", -3, r"has 1 outputs.*output=-3"),
        (sequential, "head", "x", r"has 1 outputs.*output='x'"),
        (unbuilt, "head", 1, r"has 1 outputs.*output=1.*0: unknown"),
        (splitting, "split", None, r"2 outputs.*Sequential.*`keras\.Model\(model\.inp"),
        (splitting, "split", 0, r"2 outputs.*Sequential"),
    ],
)
def test_outputs_that_are_not_there_are_an_error(make, where, output, message):
    with pytest.raises(ValueError, match=message):
        km.insert_after(make(), where, LAYER, output=output)


def residual():
    """Two additions and a function, none of which is a layer."""
    inputs = keras.Input((8,))
    x = dense(8, "one")(inputs)
    x = keras.ops.relu(x + inputs)
    y = dense(8, "two")(x) + x
    model = keras.Model(inputs, dense(2, "head")(y))
    added = [op.name for op in model.operations if type(op).__name__ == "Add"]
    return model, added


def test_an_operation_is_followed_by_its_name(tmp_path):
    model, (first, second) = residual()
    big = km.insert_after(model, [first, "two"], LAYER)
    assert sorted(ours(big)) == [
        f"{first}_monosemantic_inhibition",
        "two_monosemantic_inhibition",
    ]
    assert same(predict(big, data()), predict(model, data()))
    big.save(tmp_path / "big.keras")
    for each in (big, keras.saving.load_model(tmp_path / "big.keras")):
        km.calibrate(each, data())
        expected = numbers(model.get_layer("one")(data())) + data()
        mean = numbers(each.get_layer(f"{first}_monosemantic_inhibition").mean)
        np.testing.assert_allclose(mean[0], expected.mean(0), rtol=1e-4, atol=1e-5)
    assert same(predict(km.strip(big), data()), predict(model, data()))
    assert km.middle(model, [first, second], 2) == [first, second]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "pattern", [lambda n: f"{n[:3]}*", lambda n: re.compile(n[:3] + ".*")]
)
def test_patterns_mean_operations_only_where_they_mean_no_layer(pattern):
    model, added = residual()
    table = km.insert_after(model, pattern(added[0]), LAYER, dry_run=True)
    assert [row["after"] for row in table] == added
    layer = keras.layers.Add(name="addition")([model.output, model.output])
    both = keras.Model(model.input, layer)
    table = km.insert_after(both, pattern(added[0]), LAYER, dry_run=True)
    assert [row["after"] for row in table] == ["addition"]
    assert len(km.insert_after(model, "*", LAYER, dry_run=True)) == 3


@pytest.mark.one_backend
def test_predicates_see_layers_only():
    model, _ = residual()
    table = km.insert_after(model, lambda layer: layer.weights, LAYER, dry_run=True)
    assert [row["after"] for row in table] == ["one", "two", "head"]


@pytest.mark.one_backend
def test_errors_list_operations():
    model, added = residual()
    with pytest.raises(ValueError, match=rf"Its operations: {added[0]}, .*{added[1]}"):
        km.insert_after(model, "nothing", LAYER)
    with pytest.raises(ValueError, match=r"Its layers: [^.]*deep, left, right\.$"):
        km.insert_after(functional(), "nothing", LAYER)


def test_low_precision_of_an_operation_is_not_widened():
    inputs = keras.Input((8,))
    x = keras.layers.Dense(8, dtype="mixed_bfloat16")(inputs)
    y = x + x
    model = keras.Model(inputs, y)
    big = km.insert_after(model, y._keras_history.operation.name, LAYER)
    assert big.output.dtype == model.output.dtype
