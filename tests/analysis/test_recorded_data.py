"""What is recorded of a layer, and what data are refused."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import labelled_data, one_layer

A = km.analysis


class Half(keras.Model):
    """A layer that sees half of the samples."""

    def __init__(self):
        super().__init__()
        self.units = keras.layers.Dense(3, name="units")

    def call(self, x):
        return self.units(x[: len(x) // 2])


def test_a_layer_that_sees_some_samples_only():
    z, labels = labelled_data()
    model = Half()
    with pytest.raises(ValueError, match=r"is not built\. Call it once"):
        A.activations(model, z, ["units"])
    model(z[:4].astype("float32"))
    with pytest.raises(ValueError, match="saw 45 of 90 samples"):
        A.profile(model, z, labels, ["units"], verbose=0)


def test_errors_are_told_as_they_are():
    """Not as Keras wraps what happens inside a layer's call."""
    z, labels = labelled_data()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="units")])
    with pytest.raises(ValueError) as found:  # noqa: PT011
        A.profile(model, z, labels.reshape(30, 3)[[0] * 90], ["units"], verbose=0)
    assert str(found.value).startswith("`labels` must have one entry")


@pytest.mark.parametrize("size", [0, -1, 1.5, None])
def test_batch_sizes(size):
    z, labels = labelled_data()
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        A.profile(one_layer(), z, labels, ["units"], batch_size=size, verbose=0)


@pytest.mark.parametrize("x", [None, []])
def test_no_data(x):
    with pytest.raises(ValueError, match="`data` must be an array"):
        A.activations(one_layer(), x, ["units"])


def test_inference_is_what_is_recorded():
    """Dropout does nothing, also where the loss is measured."""
    z, labels = labelled_data()
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1, name="units"),
        ]
    )
    x = z.astype("float32")
    expected = model.predict(x, verbose=0)
    found = A.activations(model, x, ["units"])["units"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    y = expected + 1
    loss = A.ablation(model, "units", [0], x, y, labels, "mse").loss
    np.testing.assert_allclose(loss, 1.0, rtol=1e-4)
