"""Layers and nested models that share a name, or the whole path of names."""

import keras
import numpy as np
import pytest

import keras_mono as km


def inputs(samples=32, width=4):
    return np.random.default_rng(0).normal(size=(samples, width)).astype("float32")


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4, name="dense")
        self.inhibition = km.layers.MonosemanticInhibition(
            name="inhibition", start_step=1
        )

    def call(self, x, training=None):
        return self.inhibition(self.dense(x), training=training)


class Stack(keras.Model):
    """Blocks of one name in a list, as in many models written by hand."""

    def __init__(self, count=3):
        super().__init__()
        self.blocks = [Block(name="block") for _ in range(count)]
        self.out = keras.layers.Dense(1)

    def call(self, x, training=None):
        for block in self.blocks:
            x = block(x, training=training)
        return self.out(x)


NAMES = [f"block_{i}/inhibition" for i in range(3)]


def trained(model, *callbacks):
    model.compile("sgd", "mse")
    x = inputs()
    history = model.fit(x, x[:, :1], batch_size=8, verbose=0, callbacks=list(callbacks))
    return history.history


def names(model):
    model(inputs(2))
    return [row["layer"] for row in km.status(model)]


@pytest.mark.one_backend
def test_each_is_a_row_of_status_watched_and_scheduled():
    model = Stack()
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8))
    schedule = km.callbacks.InhibitionSchedule(lambda _: 3.0)
    history = trained(model, monitor, schedule)
    assert names(model) == NAMES
    assert [row["steps"] for row in km.status(model)] == [4] * 3
    assert [block.inhibition.strength for block in model.blocks] == [3.0] * 3
    for name in NAMES:
        assert np.isfinite(history[f"{name}_ms_top1"]).all()
    tops = {history[f"{name}_ms_top1"][0] for name in NAMES}
    assert len(tops) == 3  # three layers, not one three times


def test_a_schedule_sets_the_one_that_is_named():
    model = Stack()
    trained(model, km.callbacks.InhibitionSchedule(lambda _: 5.0, layers=NAMES[1]))
    assert [block.inhibition.strength for block in model.blocks] == [1.0, 5.0, 1.0]


def test_calibrate_fills_each():
    model = Stack()
    km.calibrate(model, inputs(), batch_size=16)
    assert [int(block.inhibition.step) for block in model.blocks] == [2] * 3


@pytest.mark.one_backend
def test_a_path_that_several_share_names_none_of_them():
    """Better an error that lists the names than one of three in silence."""
    schedule = km.callbacks.InhibitionSchedule(abs, layers="block/inhibition")
    with pytest.raises(ValueError, match=r"no \['block/inhibition'\].*'block_0/inhib"):
        trained(Stack(), schedule)


@pytest.mark.one_backend
def test_a_number_that_is_a_name_already_is_left_out():
    model = Stack()
    model.blocks.append(Block(name="block_1"))
    assert names(model) == [f"block_{i}/inhibition" for i in (0, 2, 3, 1)]
    watched = ["block_1/dense", "block_2/dense"]
    found = km.analysis.activations(model, inputs(8), watched)
    x, outputs = inputs(8), []
    for block in model.blocks:
        x = keras.ops.convert_to_numpy(block.dense(x))
        outputs.append(x)
    for name, place in zip(watched, (3, 1), strict=True):
        np.testing.assert_allclose(found[name], outputs[place], rtol=1e-4, atol=1e-6)


class Scales(keras.Model):
    """Layers of one name in a list of the model itself, and an inner model."""

    def __init__(self, inner):
        super().__init__()
        self.scales = [km.layers.MonosemanticScale(name="a") for _ in range(2)]
        self.inner = keras.Sequential(
            [keras.Input((4,)), km.layers.MonosemanticScale(name=inner)], name="inner"
        )

    def call(self, x, training=None):
        for part in (*self.scales, self.inner):
            x = part(x, training=training)
        return x


@pytest.mark.one_backend
def test_layers_in_a_list_of_the_model_itself():
    assert sorted(names(Scales("other"))) == ["a_0", "a_1", "other"]


def test_a_numbered_name_is_not_another_layers_own():
    assert sorted(names(Scales("a_0"))) == ["a_0", "a_1", "inner/a_0"]


class Averaged(keras.Model):
    """A network and its copy for an average of weights, both named alike."""

    def __init__(self):
        super().__init__()
        parts = [
            keras.Input((4,)),
            keras.layers.Dense(1, name="dense"),
            km.layers.MonosemanticScale(name="scale"),
        ]
        self.network = keras.Sequential(parts, name="network")
        self.average = keras.models.clone_model(self.network)

    def call(self, x, training=None):
        y = self.network(x, training=training)
        return y + self.average(x, training=training)


@pytest.mark.one_backend
def test_a_network_and_its_clone():
    model = Averaged()
    assert model.network.name == model.average.name
    history = trained(model, km.callbacks.MonosemanticityMonitor(inputs(8)))
    assert names(model) == ["network_0/scale", "network_1/scale"]
    assert {f"{name}_ms_top1" for name in names(model)} <= set(history)


@pytest.mark.one_backend
def test_names_that_are_not_shared_stay_short():
    assert names(Stack(count=1)) == ["inhibition"]


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_containers_inside_a_layer(kind):
    class Holder(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="holder")
            scales = [km.layers.MonosemanticScale(name="scale") for _ in range(2)]
            self.held = dict(enumerate(scales)) if kind is dict else kind(scales)

        def call(self, x, training=None):
            held = self.held.values() if kind is dict else self.held
            for scale in held:
                x = scale(x, training=training)
            return x

    model = keras.Sequential([keras.Input((4,)), Holder()])
    assert names(model) == ["holder/scale_0", "holder/scale_1"]
