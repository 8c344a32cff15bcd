"""The loss that an ablation measures: its form, its targets, positions."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import labelled_data, one_layer

A = km.analysis


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: keras.ops.mean(keras.ops.square(a - b), axis=-1),
        OwnLoss(),
        "mse",
        keras.losses.MeanSquaredError(),
    ],
)
@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
def test_targets_without_an_axis_of_outputs(loss, kind):
    z, labels = labelled_data()
    model = one_layer(1)
    y = np.round(10 * z[:, 0]).astype(kind)
    found = A.ablation(model, "units", [0], z, y, labels, loss)
    predicted = model.predict(z, verbose=0)[:, 0].astype("float64")
    expected = [np.mean((predicted - y)[labels == f] ** 2) for f in ("de", "fr", "it")]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-4)
    fixed = [
        np.mean((predicted.mean() - y)[labels == f] ** 2) for f in np.unique(labels)
    ]
    np.testing.assert_allclose(
        found.increase[:, 0], np.subtract(fixed, expected), rtol=1e-3, atol=1e-3
    )


@pytest.mark.one_backend
def test_losses_and_models_that_do_not_fit():
    z, labels = labelled_data()
    model = one_layer(1)
    with pytest.raises(ValueError, match=r"one number a sample.*shape \(\)"):
        A.ablation(
            model, "units", [0], z, z[:, :1], labels, lambda a, b: keras.ops.mean(a - b)
        )
    two = keras.Model(model.inputs, [model.outputs[0], model.outputs[0] * 2])
    with pytest.raises(ValueError, match="has 2 outputs"):
        A.ablation(two, "units", [0], z, z[:, :1], labels, "mse")


def test_ablation_takes_the_mean_over_positions():
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, keras.layers.Dense(2, name="units")(inputs))
    x = np.random.default_rng(0).normal(size=(30, 4, 2)).astype("float32")
    z = model.predict(x, verbose=0).astype("float64")
    y = np.zeros_like(z)
    found = A.ablation(model, "units", [1], x, y, np.arange(30) % 2, "mse")
    fixed = z.copy()
    fixed[..., 1] = z[..., 1].mean()
    for feature in (0, 1):
        rows = np.arange(30) % 2 == feature
        increase = (fixed[rows] ** 2).mean() - (z[rows] ** 2).mean()
        assert found.increase[feature, 0] == pytest.approx(increase, rel=1e-3)
