"""Steps go on where a resumed `fit`, or one with `initial_epoch`, goes on."""

import contextlib

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small


def network(optimizer="sgd", **options):
    return small.chain(
        (4,),
        km.layers.MonosemanticInhibition(name="inhibition", start_step=1),
        keras.layers.Dense(1),
        optimizer=optimizer,
        **options,
    )


def batches(count=3):
    x = small.normal(8 * count, 4)
    for start in range(0, len(x), 8):
        yield x[start : start + 8], x[start : start + 8, :1]


def fit(model, *callbacks, **options):
    x, y = (np.concatenate(part) for part in zip(*batches(), strict=True))
    return small.fit(model, x, y, *callbacks, **options)


def asked_steps():
    """A schedule by step and the steps that it asked for."""
    asked = []
    schedule = km.callbacks.InhibitionSchedule(
        lambda step: asked.append(step) or 0.1, unit="step"
    )
    return schedule, asked


def test_initial_epoch():
    schedule, asked = asked_steps()
    fit(network(), schedule, epochs=4, initial_epoch=2)
    assert asked == [6, 7, 8, 9, 10, 11]
    fit(network(), schedule, epochs=1)
    assert asked[6:] == [0, 1, 2]


class StopIn(keras.callbacks.Callback):
    """As a machine that is taken away in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if (self.now, batch) == (self.epoch, 1):
            raise InterruptedError


@pytest.mark.parametrize("backup_first", [True, False])
def test_a_resumed_run_asks_as_one_that_was_not_interrupted(tmp_path, backup_first):
    def run(*others):
        schedule, asked = asked_steps()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        ours = [backup, schedule] if backup_first else [schedule, backup]
        model = network()
        with contextlib.suppress(InterruptedError):
            fit(model, *ours, *others, epochs=4)
        return asked

    assert run(StopIn(2)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert run() == [6, 7, 8, 9, 10, 11]


def test_accumulated_gradients_are_steps_each():
    schedule, asked = asked_steps()
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    fit(network(optimizer), schedule, epochs=3, initial_epoch=1)
    assert asked == [3, 4, 5, 6, 7, 8]


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has no executions of steps there"
)
def test_executions_of_several_steps():
    schedule, asked = asked_steps()
    fit(network(steps_per_execution=2), schedule, epochs=3, initial_epoch=1)
    assert asked == [3, 5, 6, 8]


def after_two_epochs(path, optimizer="sgd"):
    model = network(optimizer)
    fit(model, epochs=2)
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


def steps_with_a_generator(model):
    """Keras does not know how long it is, and may ask beyond its three batches."""
    schedule, asked = asked_steps()
    model.fit(batches(), epochs=3, initial_epoch=2, verbose=0, callbacks=[schedule])
    return asked[:3]


def test_data_of_unknown_length(tmp_path):
    assert steps_with_a_generator(after_two_epochs(tmp_path)) == [6, 7, 8]


@pytest.mark.one_backend
def test_data_of_unknown_length_and_a_new_optimizer(tmp_path):
    model = after_two_epochs(tmp_path)
    model.compile("sgd", "mse")
    assert steps_with_a_generator(model) == [6, 7, 8]


def test_data_of_unknown_length_and_calibrated_layers(tmp_path):
    model = after_two_epochs(tmp_path)
    x = np.concatenate([x for x, _ in batches(8)])
    km.calibrate(model, x, batch_size=8)
    assert steps_with_a_generator(model) == [6, 7, 8]


def test_data_of_unknown_length_and_accumulated_gradients(tmp_path):
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
    model = after_two_epochs(tmp_path, optimizer)
    assert steps_with_a_generator(model) == [6, 7, 8]


@pytest.mark.one_backend
def test_what_cannot_be_told_is_said():
    with pytest.warns(UserWarning, match=r"epoch 2.*from 0. Pass `steps_per_epoch`"):
        assert steps_with_a_generator(network()) == [0, 1, 2]


@pytest.mark.one_backend
def test_the_batches_of_a_monitor():
    monitor = km.callbacks.MonosemanticityMonitor(
        np.zeros((2, 4), "float32"), every=4, unit="batch"
    )
    fit(network(), monitor, epochs=4, initial_epoch=2)
    assert [row["batch"] for row in monitor.rows] == [6, 8]
    assert [row["epoch"] for row in monitor.rows] == [2, 2]
