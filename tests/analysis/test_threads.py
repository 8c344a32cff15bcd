"""Measuring in one thread while another uses the same layers."""

import threading

import keras
import numpy as np
import pytest

import keras_mono as km

A = km.analysis
DEADLINE = 60


class Gate(keras.layers.Layer):
    """Stops one thread until another is done."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stopped, self.arrived, self.opened = None, None, None

    def close_for(self, thread):
        self.stopped = thread
        self.arrived, self.opened = threading.Event(), threading.Event()

    def call(self, x):
        if threading.get_ident() == self.stopped:
            self.arrived.set()
            assert self.opened.wait(DEADLINE)
        return x


def model_with_gate():
    gate = Gate(name="gate")
    layers = [
        keras.Input((4,)),
        gate,
        keras.layers.Dense(5, name="plain"),
        km.layers.MonosemanticInhibition(start_step=2, name="ours"),
        keras.layers.Dense(1, name="last"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model, gate


def inputs(number=32):
    return np.random.default_rng(0).normal(size=(number, 4)).astype("float32")


def meanwhile(gate, measure, use):
    """Run `use` here after `measure`, in a thread, has begun; what `measure` gave."""
    found = []

    def run():
        gate.close_for(threading.get_ident())
        ready.set()
        found.append(measure())

    ready, thread = threading.Event(), threading.Thread(target=run)
    thread.start()
    assert ready.wait(DEADLINE)
    try:
        assert gate.arrived.wait(DEADLINE)
        use()
    finally:
        gate.opened.set()
        thread.join(DEADLINE)
    return found[0]


def test_training_loses_no_step_and_is_not_recorded():
    model, gate = model_with_gate()
    x, layers = inputs(), ["plain", "ours"]
    expected = A.activations(model, x, layers)
    found = meanwhile(
        gate,
        lambda: A.activations(model, x, layers),
        lambda: [model.train_on_batch(inputs(8), np.zeros((8, 1))) for _ in range(3)],
    )
    assert km.status(model)[0]["steps"] == 3
    for name, z in expected.items():
        np.testing.assert_allclose(found[name], z, rtol=1e-5, atol=1e-6)
    model.train_on_batch(x, np.zeros((32, 1)))
    assert km.status(model)[0]["steps"] == 4


def test_a_second_recording_ends_before_the_first():
    model, gate = model_with_gate()
    x, layers = inputs(), ["plain", "ours"]
    expected = A.activations(model, x, layers)
    others = []
    found = meanwhile(
        gate,
        lambda: A.activations(model, x, layers),
        lambda: others.append(A.activations(model, x[:9], layers)),
    )
    for name, z in expected.items():
        np.testing.assert_allclose(found[name], z, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(others[0][name], z[:9], rtol=1e-5, atol=1e-6)
    assert not model.get_layer("ours").listeners
    assert not any("call" in vars(layer) for layer in model.layers)


def test_the_latest_listener_of_a_thread_hears_a_call():
    layer = km.layers.MonosemanticScale()
    layer.build((None, 3))
    heard = []
    with layer.listeners.added(lambda z, _: heard.append(("outer", z))):
        with layer.listeners.added(lambda z, _: heard.append(("inner", z))):
            layer(inputs(2)[:, :3])
        layer(inputs(2)[:, :3], training=True)
    assert [name for name, _ in heard] == ["inner", "outer"]
    assert int(layer.step) == 0


def test_predictions_during_a_calibration_teach_nothing():
    model, gate = model_with_gate()
    x = inputs()
    meanwhile(gate, lambda: km.calibrate(model, x), lambda: model(inputs(5) + 100.0))
    assert km.status(model)[0]["steps"] == 1
    layer = model.get_layer("ours")
    assert np.unique(keras.ops.convert_to_numpy(layer.count)).tolist() == [32.0]


def test_an_ablated_neuron_is_so_in_one_thread_only():
    model, gate = model_with_gate()
    x, y, labels = inputs(), np.zeros((32, 1)), np.arange(32) % 2
    plain = keras.ops.convert_to_numpy(model(x))
    seen = []

    def ablate():
        gate.stopped = None  # not yet
        calls = iter(range(3))

        class Loss(keras.losses.Loss):
            def call(self, y_true, y_pred):
                if next(calls) == 0:  # of the plain model: the next run is ablated
                    gate.stopped = threading.get_ident()
                return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

        return A.ablation(model, "plain", [0], x, y, labels, loss=Loss())

    meanwhile(gate, ablate, lambda: seen.append(model(x)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(seen[0]), plain)


def test_a_method_that_a_user_has_replaced_is_there_afterwards():
    model, _ = model_with_gate()
    layer = model.get_layer("plain")
    original = layer.call
    layer.call = lambda x, training=None: original(x, training) * 2.0
    mine = layer.call
    doubled = A.activations(model, inputs(), ["plain"])["plain"]
    assert layer.call is mine
    layer.call = original
    single = A.activations(model, inputs(), ["plain"])["plain"]
    np.testing.assert_allclose(doubled, single * 2.0, rtol=1e-5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("built", [True, False])
def test_an_interrupted_calibration_costs_no_history(error, built):
    layer = km.layers.MonosemanticInhibition(name="ours")
    model = keras.Sequential([keras.layers.Dense(3), layer])
    before = None
    if built:
        km.calibrate(model, inputs(), batch_size=8)
        before = [keras.ops.convert_to_numpy(v) for v in layer.saved_variables()]

    def broken():
        yield inputs() + 7.0
        raise error

    with pytest.raises(error):
        km.calibrate(model, broken())
    after = [keras.ops.convert_to_numpy(v) for v in layer.saved_variables()]
    if before is None:
        assert int(layer.step) == 0
        assert not keras.ops.convert_to_numpy(layer.count).any()
    else:
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not layer.listeners
