"""`insert_after(mask=...)` takes the mask that another layer makes."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import dense
from support.training import numbers

LAYER = km.layers.MonosemanticInhibition(axis=-1, start_step=1)
IDS = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0]])


@keras.saving.register_keras_serializable("tests")
class Ends(keras.layers.Layer):
    """A layer that takes a mask and puts out none, like Keras 3.16's RNN."""

    def call(self, x, mask=None):  # noqa: ARG002
        return x * 2.0

    def compute_mask(self, inputs, mask=None):  # noqa: ARG002
        return None


@keras.saving.register_keras_serializable("tests")
class EveryOther(keras.layers.Layer):
    """A mask of every other position, for what is half as long."""

    def call(self, ids):
        return keras.ops.not_equal(ids[:, ::2], 0)


def of_an_embedding():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="masks")(ids)
    return keras.Model(ids, dense(4, "hidden")(Ends(name="ends")(x))), IDS


def of_masking():
    z = keras.Input((None, 2), name="values")
    x = keras.layers.Masking(name="masks")(z)
    model = keras.Model(z, dense(4, "hidden")(Ends(name="ends")(x)))
    return model, np.stack([IDS, IDS], axis=-1).astype("float32")


def of_an_output():
    ids = keras.Input((None,), dtype="int32", name="ids")
    mask = EveryOther(name="masks")(ids)
    x = keras.layers.Embedding(9, 4)(ids)
    x = keras.layers.Conv1D(4, 1, strides=2, name="hidden")(x)
    return keras.Model(ids, [x, mask]), IDS


def of_an_input():
    ids = keras.Input((None,), dtype="int32", name="masks")
    x = Ends(name="ends")(keras.layers.Embedding(9, 4)(ids))
    return keras.Model(ids, dense(4, "hidden")(x)), IDS


@pytest.mark.parametrize(
    ("make", "expected"),
    [(of_an_embedding, 5), (of_masking, 5), (of_an_output, 3), (of_an_input, 5)],
)
def test_what_it_marks_is_not_counted(make, expected, tmp_path):
    model, x = make()
    big = km.insert_after(model, "hidden", LAYER, mask="masks")
    big.save(tmp_path / "big.keras")
    loaded = keras.saving.load_model(tmp_path / "big.keras")
    for each in (big, loaded):
        km.calibrate(each, x)
        layer = each.get_layer("hidden_monosemantic_inhibition")
        assert numbers(layer.count).max() == expected
    back = km.strip(big)
    for a, b in zip(*(keras.tree.flatten(m(x)) for m in (back, model)), strict=True):
        np.testing.assert_array_equal(numbers(a), numbers(b))


def test_it_holds_in_training():
    model, x = of_an_embedding()
    big = km.insert_after(model, "hidden", LAYER, mask="masks")
    big.compile("sgd", "mse")
    big.fit(x, np.zeros((2, 5, 4)), batch_size=2, verbose=0)
    layer = big.get_layer("hidden_monosemantic_inhibition")
    assert numbers(layer.count).max() == 5


def test_a_layer_of_a_nested_model_is_named_by_its_path():
    inner, _ = of_an_embedding()
    inner.name = "inner"
    ids = keras.Input((None,), dtype="int32", name="outer_ids")
    model = keras.Model(ids, inner(ids))
    table = km.insert_after(model, "inner/hidden", LAYER, None, "inner/masks", True)
    assert [row["mask"] for row in table] == ["inner/masks"]
    with pytest.raises(ValueError, match="'inner/masks', which cannot be given"):
        km.insert_after(model, "inner", LAYER, mask="inner/masks")


def test_a_sequential_model_hands_on_no_mask_but_keras():
    layers = [keras.layers.Masking(name="masks"), Ends(), dense(4, "hidden")]
    model = keras.Sequential([keras.Input((5, 2)), *layers])
    with pytest.raises(ValueError, match=r"(?s)'masks', which.*`keras\.Model\(model"):
        km.insert_after(model, "hidden", LAYER, mask="masks")
    graph = keras.Model(model.inputs, model.outputs)
    table = km.insert_after(graph, "hidden", LAYER, mask="masks", dry_run=True)
    assert [row["mask"] for row in table] == ["masks"]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("where", "mask", "message"),
    [
        ("masks", "hidden", "neither a Keras mask nor a mask of shape"),
        ("hidden", "nothing", "must name an input.*'masks', 'ends', 'hidden'"),
        ("hidden", "ends", "neither a Keras mask nor a mask of shape"),
    ],
)
def test_what_makes_no_mask_is_an_error(where, mask, message):
    model, _ = of_an_embedding()
    with pytest.raises(ValueError, match=message):
        km.insert_after(model, where, LAYER, mask=mask)


def test_a_mask_of_other_positions_is_an_error():
    model, _ = of_an_output()
    ids = keras.Input((None,), dtype="int32", name="more")
    x = dense(4, "long")(keras.layers.Embedding(9, 4)(ids))
    both = keras.Model([model.input, ids], [*model.output, x])
    with pytest.raises(ValueError, match="layers after long"):
        km.insert_after(both, "long", LAYER, mask="masks")
    x = dense(4, "same")(keras.layers.Embedding(9, 4)(model.input))
    model = keras.Model(model.input, [*model.output, x])
    with pytest.raises(ValueError, match="layers after same"):
        km.insert_after(model, "same", LAYER, mask="masks")
