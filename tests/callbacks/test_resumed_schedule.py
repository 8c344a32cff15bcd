"""A run with a schedule that is killed goes on as if nothing had happened."""

from functools import lru_cache

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

SCHEDULES = {
    "numbers": [3.0, 0.5, 2.0, 1.5],
    "off and on": [3.0, None, None, 2.0],
    "off at last": [3.0, 0.5, None, None],
}


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        if epoch == self.epoch:
            raise Killed


def network(seed):
    keras.utils.set_random_seed(seed)
    return small.chain(
        (4,),
        keras.layers.Dense(8),
        km.layers.MonosemanticInhibition(2, start_step=1, name="inhibition"),
        km.layers.MonosemanticPenalty(0.1, start_step=1, name="penalty"),
        keras.layers.Dense(2),
        optimizer=keras.optimizers.SGD(0.01),
    )


def fit(model, values, *callbacks):
    x = small.student_t(4, 24, 4)
    schedule = km.callbacks.InhibitionSchedule(lambda epoch: values[epoch])
    small.fit(model, x, x[:, :2], *callbacks, schedule, epochs=4)
    return model


def everything(model):
    layers = [model.get_layer(name) for name in ("inhibition", "penalty")]
    configs = [layer.get_config() for layer in layers]
    return [numbers(v) for v in model.weights], configs


@lru_cache
def uninterrupted(schedule):
    """What a training under one of `SCHEDULES` ends with."""
    return everything(fit(network(1), SCHEDULES[schedule]))


@pytest.mark.slow
@pytest.mark.support("`BackupAndRestore` in the middle of an `InhibitionSchedule`")
@pytest.mark.parametrize(
    ("schedule", "killed_after"),
    small.mostly_one_backend(
        [(schedule, epoch) for schedule in SCHEDULES for epoch in (0, 2)],
        ("numbers", 2),
        ("off and on", 0),
    ),
)
def test_resumed_equals_uninterrupted(schedule, killed_after, tmp_path):
    values = SCHEDULES[schedule]
    weights, configs = uninterrupted(schedule)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Killed):
        fit(network(1), values, backup, Kill(killed_after))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed, resumed_configs = everything(fit(network(2), values, backup))
    assert resumed_configs == configs
    for a, b in zip(resumed, weights, strict=True):
        np.testing.assert_array_equal(a, b)
