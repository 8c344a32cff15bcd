"""Padded inputs count neither in figures by feature nor in a loss."""

import keras
import numpy as np
import pytest

import keras_mono as km

A = km.analysis


def padded(layer):
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="embedding")(inputs)
    x = layer(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D(name="pool")(x))


@pytest.mark.parametrize("which", ["ours", "dense"])
def test_padding_counts_in_no_figure(which):
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, size=(60, 6))
    labels = np.arange(60) % 2
    x[labels == 1, 3:] = 0  # only the lengths tell the labels apart
    keras.utils.set_random_seed(0)
    layer = {
        "ours": km.layers.MonosemanticScale(axis=-1, name="here"),
        "dense": keras.layers.Dense(3, name="here"),
    }[which]
    model = padded(layer)
    found = A.profile(model, x, labels, ["here"], verbose=0)["here"]
    assert found.inputs == 30 * 6 + 30 * 3
    z = A.activations(model, x, ["here"], masked=np.nan)["here"]
    np.testing.assert_array_equal(np.isnan(z[..., 0]), x == 0)
    raw = A.activations(model, x, ["here"])["here"]
    assert not np.isnan(raw).any()
    expected = A.feature_scores(z, labels)
    np.testing.assert_allclose(found.scores.phi, expected.phi, rtol=1e-5)
    # A layer behind the sequence has its samples, all of them.
    pooled = A.profile(model, x, labels, ["pool"], verbose=0)["pool"]
    assert pooled.inputs == 60


def test_the_loss_of_padding_is_not_counted():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, size=(40, 6))
    x[:, 4:] = 0
    y = rng.normal(size=(40, 6, 1)).astype("float32")
    found = A.ablation(model, "out", [0], x, y, np.arange(40) % 2)
    assert found.loss.mean() == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-4)
