"""The kinds of data that a monitor takes beside arrays."""

import copy

import keras
import numpy as np
import pytest

import keras_mono as km

Monitor = km.callbacks.MonosemanticityMonitor


def inputs(samples=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, 4)).astype("float32")


def tops(data, **options):
    """The largest φ after each of two epochs."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), km.layers.MonosemanticScale(name="scale")]
    )
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    x = inputs(seed=1)
    monitor = Monitor(data, **options)
    fit = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False}
    model.fit(x, x[:, :1], callbacks=[monitor], **fit)
    return [row["top1"] for row in monitor.rows], monitor


class Data(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        x = inputs()[8 * index : 8 * index + 8]
        return x, x[:, :1]


def generated():
    for i in range(3):
        yield Data()[i]


@pytest.mark.parametrize("make", [Data, generated])
@pytest.mark.parametrize("steps", [None, 2])
def test_data_that_give_batches(make, steps):
    samples = 8 * (steps or 3)
    found, _ = tops(make(), steps=steps)
    np.testing.assert_allclose(found, tops(inputs()[:samples])[0], rtol=1e-5)


def test_a_generator_serves_another_training_and_a_copy():
    found, monitor = tops(generated())
    twin = copy.deepcopy(monitor)
    again, _ = tops(twin.data)
    assert found == again


def test_steps_of_arrays():
    found, _ = tops(inputs(), batch_size=8, steps=1)
    np.testing.assert_allclose(found, tops(inputs()[:8])[0], rtol=1e-5)


def test_an_optional_input_that_is_left_out():
    class Optional(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = km.layers.MonosemanticScale(name="scale")
            self.out = keras.layers.Dense(1)

        def call(self, inputs, training=None):
            x = inputs["a"] if inputs["b"] is None else inputs["a"] + inputs["b"]
            return self.out(self.scale(x, training=training))

    model = Optional()
    model.compile("sgd", "mse")
    x = {"a": inputs(), "b": None}
    history = model.fit(x, inputs()[:, :1], verbose=0, callbacks=[Monitor(x)])
    assert np.isfinite(history.history["scale_ms_top1"]).all()


def test_data_without_end_need_steps():
    class Endless(Data):
        @property
        def num_batches(self):
            return None

    with pytest.raises(ValueError, match=r"never ends.*steps=10"):
        tops(Endless())
    found, _ = tops(Endless(), steps=3)
    np.testing.assert_allclose(found, tops(Data())[0], rtol=1e-5)
    with pytest.raises(ValueError, match="`steps` must be a positive integer"):
        Monitor(Endless(), steps=0)
