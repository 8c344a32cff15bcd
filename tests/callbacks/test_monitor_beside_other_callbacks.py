"""What the other callbacks of a `fit` make of the monitor's figures."""

import csv
import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small

Monitor = km.callbacks.MonosemanticityMonitor


def inputs(samples=32):
    return small.normal(samples, 4)


def network(select=1, start_step=2):
    return small.chain(
        (4,),
        km.layers.MonosemanticInhibition(
            select, axis=-1, start_step=start_step, name="inhibition"
        ),
        keras.layers.Dense(1),
        optimizer=keras.optimizers.SGD(0.0),
    )


def fit(model, *callbacks, x=None, **options):
    x = inputs() if x is None else x
    options = {"shuffle": True, **options}
    return small.fit(model, x, x[:, :1], *callbacks, **options)


def counting():
    """A model and data of which each epoch leaves one more entry out, in order."""
    x = inputs()
    x[0, 0] = np.nan
    return network(), x, "inhibition_non_finite"


@pytest.mark.one_backend
def test_epochs_without_a_measurement_repeat_the_latest():
    model, x, key = counting()
    monitor = Monitor(inputs(8), every=3)
    history = fit(model, monitor, x=x, epochs=5).history
    assert history[key] == [1.0, 1.0, 1.0, 4.0, 4.0]
    assert [row["epoch"] for row in monitor.rows] == [0, 3]
    assert np.isfinite(history["inhibition_ms_top1"]).all()


@pytest.mark.one_backend
def test_the_first_epoch_of_a_fit_is_measured():
    model, x, key = counting()
    monitor = Monitor(inputs(8), every=3)
    history = fit(model, monitor, x=x, epochs=5, initial_epoch=1).history
    assert history[key] == [1.0, 1.0, 3.0, 3.0]


@pytest.mark.one_backend
def test_batches_without_a_measurement_in_a_whole_epoch():
    model, x, key = counting()
    monitor = Monitor(inputs(8), every=8, unit="batch")
    history = fit(model, monitor, x=x, epochs=4, shuffle=False)  # of 4 batches
    assert history.history[key] == [1.0, 1.0, 3.0, 3.0]


@pytest.mark.one_backend
def test_early_stopping_is_patient_until_the_next_measurement():
    model, x, key = counting()
    stopping = keras.callbacks.EarlyStopping(key, mode="min", patience=4)
    history = fit(model, Monitor(every=3, data=inputs(8)), stopping, x=x, epochs=9)
    assert len(history.epoch) == 5  # epochs 1 to 4 were not better than 0
    stopping = keras.callbacks.EarlyStopping(key, mode="max", patience=3)
    history = fit(model, Monitor(every=3, data=inputs(8)), stopping, x=x, epochs=9)
    assert len(history.epoch) == 9  # 3 and 6 were better


@pytest.mark.one_backend
def test_no_patience_is_needed_where_every_epoch_is_measured():
    model, x, key = counting()
    stopping = keras.callbacks.EarlyStopping(key, mode="max")  # patience is 0
    history = fit(model, Monitor(inputs(8)), stopping, x=x, epochs=3)
    assert len(history.epoch) == 3


@pytest.mark.one_backend
@pytest.mark.parametrize("unit", ["epoch", "batch"])
@pytest.mark.parametrize(
    "kind", [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau]
)
def test_patience_that_ends_before_the_next_measurement_is_an_error(kind, unit):
    model = network()
    monitor = Monitor(inputs(8), every=3 if unit == "epoch" else 12, unit=unit)
    reader = kind("inhibition_ms_top1", mode="min", patience=2)
    with pytest.raises(ValueError, match=r"until the next.*3 epochs.*patience=2. Set"):
        fit(model, monitor, reader)
    assert int(model.layers[0].step) == 0
    fit(model, monitor, kind("loss", patience=2))


@pytest.mark.one_backend
def test_model_checkpoint_keeps_the_best_of_the_measured(tmp_path):
    model, x, key = counting()
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}.weights.h5"),
        key,
        mode="max",
        save_best_only=True,
        save_weights_only=True,
    )
    fit(model, Monitor(every=3, data=inputs(8)), checkpoint, x=x, epochs=5)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["1.weights.h5", "4.weights.h5"]


@pytest.mark.one_backend
@pytest.mark.parametrize("first", [0, 1])
def test_csv_logger_has_all_columns_from_any_first_epoch(tmp_path, first):
    path = tmp_path / "log.csv"
    logger = keras.callbacks.CSVLogger(str(path))
    model = network(0.1, start_step=6)
    monitor = Monitor(inputs(8), every=3)
    fit(model, monitor, logger, epochs=5, initial_epoch=first)
    rows = {int(row["epoch"]): row for row in csv.DictReader(path.open())}
    assert set(rows) == set(range(first, 5))
    for figure in ("ms_top1", "inhibited", "tau"):
        assert "NA" not in {row[f"inhibition_{figure}"] for row in rows.values()}
    assert float(rows[first]["inhibition_tau"]) == np.inf  # 4 of 6 steps
    assert 0 < float(rows[3]["inhibition_tau"]) < np.inf


@pytest.mark.one_backend
def test_the_progress_line_shows_what_was_measured(capsys):
    fit(network(), Monitor(inputs(8), every=2), epochs=2, verbose=2)
    first, second = capsys.readouterr().out.split("Epoch 2/2")
    assert "inhibition_ms_top1: " in first
    assert "inhibition_ms_top1: " in second
    fit(network(), Monitor(inputs(8), every=2), epochs=2, verbose=1)
    assert "inhibition_ms_top1: " in capsys.readouterr().out


@pytest.mark.one_backend
def test_early_stopping_on_a_threshold_that_starts_later():
    """It stops where τ stops falling, not because τ began as NaN."""
    stopping = keras.callbacks.EarlyStopping("inhibition_tau", mode="min", patience=2)
    history = fit(network(0.1, 6), Monitor(), stopping, epochs=4)
    tau = history.history["inhibition_tau"]
    assert tau[0] == np.inf
    assert np.isfinite(tau[1:]).all()
    best = int(np.argmin(tau))
    assert stopping.best == tau[best]
    assert best >= 1
    assert len(tau) >= 3


@pytest.mark.one_backend
def test_status_of_a_threshold_that_has_not_started():
    model = network(0.1)
    assert km.status(model)[0]["threshold"] is None
    fit(model)
    assert km.status(model)[0]["threshold"] > 0


@pytest.mark.one_backend
def test_two_monitors_with_the_same_keys_are_an_error_before_training():
    model = network()
    with pytest.raises(ValueError, match=r"different keys.*inhibition_inhib.*prefix="):
        fit(model, Monitor(inputs(8)), Monitor(inputs(16)))
    assert int(model.layers[0].step) == 0
    twice = Monitor(inputs(8))
    with pytest.raises(ValueError, match="different keys"):
        fit(model, twice, twice)


@pytest.mark.one_backend
def test_two_monitors_told_apart_by_a_prefix():
    monitors = Monitor(inputs(8)), Monitor(inputs(16), prefix="val_")
    history = fit(network(), *monitors).history
    names = ("inhibition_ms_top1", "val_inhibition_ms_top1")
    assert [history[name][0] for name in names] == [m.rows[0]["top1"] for m in monitors]
    assert history[names[0]] != history[names[1]]
    assert [m.rows[0]["layer"] for m in monitors] == ["inhibition"] * 2
    with pytest.raises(ValueError, match=r"`prefix` must be a string. Received: 3"):
        Monitor(prefix=3)


@pytest.mark.one_backend
def test_two_monitors_of_different_layers():
    model = network()
    name = model.layers[-1].name
    history = fit(model, Monitor(inputs(8)), Monitor(inputs(8), layers=[name]))
    assert {"inhibition_ms_top1", f"{name}_ms_top1"} <= set(history.history)


class Printing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        print(logs)


@pytest.mark.one_backend
def test_loggers_before_the_monitor_are_told_of_once(tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with pytest.warns(UserWarning, match="Put the monitor first") as caught:
        fit(network(), logger, Printing(), Monitor(inputs(8)), epochs=3)
    (warning,) = [w for w in caught if "monitor first" in str(w.message)]
    assert str(warning.message).startswith("CSVLogger, Printing before")


@pytest.mark.one_backend
def test_a_stopping_on_a_figure_before_the_monitor_is_told_of():
    stopping = keras.callbacks.EarlyStopping("inhibition_ms_top1", mode="min")
    with pytest.warns(UserWarning, match=r"^EarlyStopping before the Mono"):
        fit(network(), stopping, Monitor(inputs(8)))


@pytest.mark.one_backend
def test_callbacks_that_want_no_figure_may_stand_before(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    before = [
        keras.callbacks.EarlyStopping("loss"),
        keras.callbacks.LearningRateScheduler(lambda _: 0.0),
        keras.callbacks.LambdaCallback(on_epoch_begin=print),
        km.callbacks.InhibitionSchedule(lambda _: 1.0),
        backup,
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*Monosemanticity")
        fit(network(), *before, Monitor(inputs(8)), Printing())
        by_batch = Monitor(inputs(8), unit="batch")
        fit(network(), km.callbacks.InhibitionSchedule(lambda _: 1.0), by_batch)
