"""`strip` takes every layer of this library out and nothing else."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import CASES, LAYER, Counting, names, ours, predict, same


@pytest.mark.parametrize("case", CASES)
def test_strip_undoes_insert_after(case):
    make, x, where = CASES[case]
    model = make()
    big = km.insert_after(model, where, LAYER)
    back = km.strip(big)
    assert not ours(back)
    assert names(back) == names(model)
    assert [w.path for w in back.weights] == [w.path for w in model.weights]
    assert same(predict(back, x), predict(model, x))
    assert ours(big)


def test_a_model_of_these_layers_only():
    model = keras.Sequential([keras.Input((4,)), km.layers.MonosemanticScale()])
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(km.strip(model).predict(x, verbose=0), x)


def test_a_layer_at_the_output_and_one_with_a_padding_mask():
    x, padding = keras.Input((3, 4)), keras.Input((3,), name="padding")
    z = keras.layers.Dense(4)(x)
    z = km.layers.MonosemanticScale(axis=-1)(z, padding_mask=padding)
    model = keras.Model([x, padding], z)
    back = km.strip(model)
    assert not ours(back)
    data = [np.ones((2, 3, 4), "float32"), np.ones((2, 3), "float32")]
    assert same(predict(back, data), predict(model, data))


def test_a_model_without_such_layers():
    model = Counting(4)
    assert names(km.strip(model)) == names(model)


def test_a_subclassed_model_is_an_error():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="Functional or Sequential"):
        km.strip(Own())


def weights_of(model):
    return [np.array(keras.ops.convert_to_numpy(w)) for w in model.weights]


@pytest.mark.parametrize("case", CASES)
def test_weights_saved_before_insertion_load_into_the_shared_layers(case, tmp_path):
    make, _, where = CASES[case]
    saved = make()
    saved.save_weights(tmp_path / "before.weights.h5")
    big = km.insert_after(make(), where, LAYER)
    km.strip(big).load_weights(tmp_path / "before.weights.h5")
    kept = [w for w in big.weights if "monosemantic" not in w.path]
    found = [np.array(keras.ops.convert_to_numpy(w)) for w in kept]
    assert same(found, weights_of(saved))


@pytest.mark.parametrize("case", CASES)
def test_weights_of_an_inserted_model_load_after_strip(case, tmp_path):
    make, x, where = CASES[case]
    big = km.insert_after(make(), where, LAYER)
    km.calibrate(big, x)
    big.save_weights(tmp_path / "after.weights.h5")
    stripped = km.strip(km.insert_after(make(), where, LAYER))
    assert not same(weights_of(stripped), weights_of(km.strip(big)))
    stripped.load_weights(tmp_path / "after.weights.h5")
    assert same(weights_of(stripped), weights_of(km.strip(big)))
    again = km.insert_after(make(), where, LAYER)  # to go on, with the statistics
    again.load_weights(tmp_path / "after.weights.h5")
    assert same(weights_of(again), weights_of(big))


@pytest.mark.one_backend
def test_what_cannot_be_taken_out_is_an_error():
    inside = keras.Sequential(
        [keras.layers.ReLU(), km.layers.MonosemanticScale(name="inside")]
    )
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, inside)])
    with pytest.raises(ValueError, match=r"\['inside'\].*cannot be taken out"):
        km.strip(model)
