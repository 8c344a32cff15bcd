"""A run that is killed goes on as if nothing had happened."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

BACKEND = keras.config.backend()
EPOCHS = 4


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """End the process, as far as a test may: after an epoch, or after a batch."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if (self.now, batch) == (self.epoch, self.batch):
            raise Killed

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        if epoch == self.epoch and self.batch is None:
            raise Killed


class Keep(keras.callbacks.Callback):
    """Copies our variables after some batches."""

    def __init__(self, *batches):
        super().__init__()
        self.batches, self.kept = batches, {}

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if batch in self.batches:
            self.kept[batch] = ours(self.model)


def network(seed):
    keras.utils.set_random_seed(seed)
    return small.chain(
        (8,),
        keras.layers.Dense(16, activation="relu"),
        km.layers.MonosemanticInhibition(start_step=2, name="top"),
        km.layers.MonosemanticInhibition(0.1, start_step=2, name="follows"),
        km.layers.MonosemanticPenalty(0.01, start_step=2, name="penalty"),
        km.layers.MonosemanticScale(name="scale"),
        keras.layers.Dense(2),
        name="network",  # which Orbax finds the weights by
        optimizer=keras.optimizers.Adam(0.01),
    )


def ours(model):
    return {
        f"{name}/{v.name}": numbers(v)
        for name in ("top", "follows", "penalty", "scale")
        for v in model.get_layer(name).saved_variables()
    }


def fit(model, *callbacks):
    x = small.student_t(4, 64, 8)
    small.fit(model, x, x[:, :2], *callbacks, epochs=EPOCHS)
    return model


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.support("`BackupAndRestore` from an epoch's end: the same bits")
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    straight = fit(network(1))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(Killed):
        fit(network(1), backup, Kill(epoch=1))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed = fit(network(2), backup)  # other weights, which the backup replaces
    same(ours(resumed), ours(straight))
    for a, b in zip(resumed.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.support("`BackupAndRestore` in the middle of an epoch: our variables")
def test_a_backup_in_the_middle_of_an_epoch(tmp_path):
    keep = Keep(2, 5)
    backup = keras.callbacks.BackupAndRestore(
        tmp_path / "backup", save_freq=3, delete_checkpoint=False
    )
    with pytest.raises(Killed):
        fit(network(1), keep, backup, Kill(epoch=0, batch=6))
    (file,) = (tmp_path / "backup").rglob("*.weights.h5")
    other = network(2)
    other.load_weights(file)
    same(ours(other), keep.kept[5])


@pytest.mark.support("`ModelCheckpoint`, weights and whole models")
@pytest.mark.parametrize("ending", ["weights.h5", "keras"])
def test_checkpoints(tmp_path, ending):
    file = tmp_path / f"at.{ending}"
    keep = Keep(2, 5)
    checkpoint = keras.callbacks.ModelCheckpoint(
        file, save_freq=3, save_weights_only=ending == "weights.h5"
    )
    with pytest.raises(Killed):
        fit(network(1), keep, checkpoint, Kill(epoch=0, batch=6))
    if ending == "keras":
        other = keras.models.load_model(file)
    else:
        other = network(2)
        other.load_weights(file)
    same(ours(other), keep.kept[5])


@pytest.mark.support("`OrbaxCheckpoint`, `load_weights`", torch=None, tensorflow=None)
@pytest.mark.skipif(BACKEND != "jax", reason="Orbax brings JAX with it")
def test_orbax(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    keep = Keep(2, 5)
    checkpoint = keras.callbacks.OrbaxCheckpoint(tmp_path / "at", save_freq=3)
    model = fit(network(1), keep, checkpoint)
    loaded = network(2)
    loaded.load_weights(tmp_path / "at")
    last = EPOCHS * 8 // 3 * 3 - (EPOCHS - 1) * 8 - 1  # of the last epoch
    assert last == 5
    same(ours(loaded), keep.kept[last])
    assert not np.array_equal(ours(loaded)["scale/step"], ours(model)["scale/step"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A weights file's bytes."""
    file = tmp_path_factory.mktemp("whole") / "model.weights.h5"
    fit(network(1)).save_weights(file)
    return file.read_bytes()


@pytest.mark.support("a truncated weights file: Keras' error, nothing half loaded")
@pytest.mark.parametrize("share", small.mostly_one_backend([0.1, 0.5, 0.95], 0.5))
def test_a_truncated_file(tmp_path, share, whole):
    file = tmp_path / "model.weights.h5"
    file.write_bytes(whole[: int(len(whole) * share)])
    other = network(2)
    before = ours(other)
    with pytest.raises(OSError, match="truncated"):
        other.load_weights(file)
    same(ours(other), before)
