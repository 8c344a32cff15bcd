import copy
import csv
import sys

import keras
import numpy as np
import pytest

import keras_mono as km

FIGURES = ("ms_top1", "ms_threshold", "ms_tail", "ms_kurtosis")


def inputs(samples=96, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, width)).astype("float32")


def watched_model(start_step=2):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(12, activation="relu", name="hidden"),
            km.layers.MonosemanticInhibition(start_step=start_step, name="inhibition"),
            keras.layers.Dense(1, name="out"),
        ]
    )
    model.compile("sgd", "mse")
    return model


def fit(model, monitor, epochs=1, callbacks=(), **kwargs):
    x = inputs()
    return model.fit(
        x,
        x[:, :1],
        epochs=epochs,
        batch_size=16,
        callbacks=[monitor, *callbacks],
        verbose=0,
        **kwargs,
    )


def largest(phi):
    """The 2 % largest."""
    return np.sort(phi, axis=None)[-max(round(0.02 * phi.size), 1) :]


def expected_figures(phi):
    """METHOD's list, written out."""
    return {
        "ms_top1": phi.max(axis=1).mean(),
        "ms_threshold": np.quantile(phi, 0.98),
        "ms_tail": largest(phi).mean(),
        "ms_kurtosis": (phi**2).mean(),
    }


def test_running_reference_of_our_layers():
    model, probe = watched_model(), inputs(40, seed=1) * 3
    history = fit(model, km.callbacks.MonosemanticityMonitor(probe, batch_size=16))
    hidden = keras.Model(model.inputs, model.get_layer("hidden").output)
    z = hidden.predict(probe, verbose=0).astype("float64")
    layer = model.get_layer("inhibition")
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype("float64")
        for v in (layer.mean, layer.variance)
    )
    phi = (z - mean) ** 2 / (variance + 0.01 * variance.mean())
    for figure, value in expected_figures(phi).items():
        logged = history.history[f"inhibition_{figure}"][-1]
        np.testing.assert_allclose(logged, value, rtol=1e-3, err_msg=figure)
    assert history.history["inhibition_inhibited"][-1] == pytest.approx(1 / 12)


def test_data_reference_of_other_layers():
    model, probe = watched_model(), inputs(40, seed=1)
    monitor = km.callbacks.MonosemanticityMonitor(probe, layers=["hidden"])
    history = fit(model, monitor)
    hidden = keras.Model(model.inputs, model.get_layer("hidden").output)
    z = hidden.predict(probe, verbose=0).astype("float64")
    variance = z.var(axis=0, ddof=1)
    phi = (z - z.mean(axis=0)) ** 2 / (variance + 0.01 * variance.mean())
    for figure, value in expected_figures(phi).items():
        logged = history.history[f"hidden_{figure}"][-1]
        np.testing.assert_allclose(logged, value, rtol=1e-3, err_msg=figure)
    assert "hidden_inhibited" not in history.history
    assert monitor.rows[0]["reference"] == "data"


def test_nothing_is_inhibited_before_start_step():
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8))
    history = fit(watched_model(start_step=7), monitor, epochs=2)
    assert history.history["inhibition_inhibited"] == [0.0, pytest.approx(1 / 12)]


def test_masked_positions_count_in_no_figure():
    tokens = keras.Input((5, 3))
    watched = km.layers.MonosemanticInhibition(axis=-1, start_step=1, name="watched")
    masked = watched(keras.layers.Masking(0.0)(tokens))
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(masked))
    model.compile("sgd", "mse")
    probe, train = (inputs(64, 15, seed=s).reshape(64, 5, 3) for s in (1, 2))
    probe[:, 3:] = 0.0
    monitor = km.callbacks.MonosemanticityMonitor(probe)
    model.fit(train, train[:, 0], verbose=0, callbacks=[monitor])
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype("float64")
        for v in (watched.mean, watched.variance)
    )
    phi = (probe[:, :3] - mean) ** 2 / (variance + 0.01 * variance.mean())
    (row,) = monitor.rows
    for figure, value in expected_figures(phi.reshape(64, -1)).items():
        name = figure.removeprefix("ms_")
        np.testing.assert_allclose(row[name], value, rtol=1e-3, err_msg=figure)
    assert row["inhibited"] == pytest.approx(1 / 9)


@pytest.mark.one_backend
def test_epochs_that_are_skipped_cost_nothing():
    calls = []

    class Counting(km.layers.MonosemanticScale):
        def score(self, z, mask=None):
            calls.append(1)
            return super().score(z, mask)

    model = keras.Sequential([keras.Input((6,)), Counting(name="watched")])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8), every=3)
    history = fit(model, monitor, epochs=5)
    assert len(calls) == 3  # one to try it before training
    measured = [row["top1"] for row in monitor.rows]
    expected = [measured[i] for i in (0, 0, 0, 1, 1)]
    assert history.history["watched_ms_top1"] == expected


def threshold_model(start_step=2):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            km.layers.MonosemanticScale(name="scale"),
            km.layers.MonosemanticInhibition(
                0.2, axis=-1, start_step=start_step, name="inhibition"
            ),
            keras.layers.Dense(12, name="hidden"),
            km.layers.MonosemanticPenalty(0.1, start_step=start_step, name="penalty"),
            km.layers.MonosemanticPenalty(0.1, 1, start_step=start_step, name="top"),
            keras.layers.Dense(1, name="out"),
        ]
    )
    model.compile("sgd", "mse")
    return model


def test_threshold_share_and_penalty():
    model, probe = threshold_model(), inputs(40, seed=1)
    history = fit(model, km.callbacks.MonosemanticityMonitor(probe), epochs=2).history
    for name, share in (("inhibition", "inhibited"), ("penalty", "penalized")):
        layer = model.get_layer(name)
        tau = layer.selector_state["threshold"]
        assert history[f"{name}_tau"][-1] == tau > 0
        z = probe
        if name == "penalty":
            hidden = keras.Model(model.inputs, model.get_layer("hidden").output)
            z = hidden.predict(probe, verbose=0)
        expected = (keras.ops.convert_to_numpy(layer.score(z)) >= tau).mean()
        np.testing.assert_allclose(history[f"{name}_{share}"][-1], expected)
        assert 0 < expected < 1
    assert history["penalty_penalty"][-1] == model.get_layer("penalty").penalty != 0
    assert "top_tau" not in history
    assert 0 < history["top_penalized"][-1] <= 2 / 12
    beside = {k for k in history if k.startswith("scale_") and "_ms_" not in k}
    assert beside == {"scale_scale", "scale_dead", "scale_non_finite"}


def test_without_data_only_the_state_is_read():
    model = threshold_model()
    monitor = km.callbacks.MonosemanticityMonitor()
    history = fit(model, monitor, epochs=2).history
    state = model.get_layer("inhibition").selector_state
    assert history["inhibition_tau"][-1] == state["threshold"]
    assert history["inhibition_inhibited"][-1] == state["selected_fraction"] > 0
    share = model.get_layer("penalty").selector_state["selected_fraction"]
    assert history["penalty_penalized"][-1] == share
    assert history["top_penalty"][-1] == model.get_layer("top").penalty
    ours = ("inhibition_", "penalty_", "top_", "scale_")
    assert {key for key in history if key.startswith(ours)} == {
        "inhibition_inhibited",
        "inhibition_tau",
        "penalty_penalized",
        "penalty_tau",
        "penalty_penalty",
        "top_penalty",
        *(f"{name}_non_finite" for name in ("inhibition", "penalty", "top")),
    }
    titles = {axes.get_title() for axes in monitor.plot().axes}
    assert titles == {
        "Activations inhibited",
        "Activations penalized",
        "Moving threshold",
        "Penalty",
    }


def test_tau_is_infinite_before_start_step():
    model = threshold_model(start_step=100)
    history = fit(model, km.callbacks.MonosemanticityMonitor()).history
    assert history["inhibition_tau"] == [np.inf]
    assert history["inhibition_inhibited"] == [0.0]
    assert history["penalty_penalty"] == [0.0]


@pytest.mark.one_backend
def test_without_data_a_layer_without_state_figures_is_an_error():
    monitor = km.callbacks.MonosemanticityMonitor(layers=["scale"])
    with pytest.raises(ValueError, match=r"`data` must hold.*\['scale'\].*x_val"):
        fit(threshold_model(), monitor)


@pytest.mark.one_backend
def test_by_batch():
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            seen.append("inhibition_ms_top1" in logs)

    monitor = km.callbacks.MonosemanticityMonitor(inputs(8), every=4, unit="batch")
    history = fit(watched_model(), monitor, epochs=2, callbacks=[Reader()])
    # 6 batches an epoch: batches 0, 4 and 8 of the training.
    assert np.flatnonzero(seen).tolist() == [0, 4, 8]
    assert [row["batch"] for row in monitor.rows] == [0, 4, 8]
    assert [row["epoch"] for row in monitor.rows] == [0, 0, 1]
    last = history.history["inhibition_ms_top1"][-1]
    assert last == pytest.approx(monitor.rows[-1]["top1"])


@pytest.mark.one_backend
def test_rows_begin_anew_with_each_training():
    model, monitor = watched_model(), km.callbacks.MonosemanticityMonitor(inputs(8))
    fit(model, monitor, epochs=3)
    fit(model, monitor, epochs=2)
    assert [row["epoch"] for row in monitor.rows] == [0, 1]


def test_measuring_changes_nothing():
    def weights(callbacks):
        keras.utils.set_random_seed(0)
        model, x = watched_model(), inputs()
        model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=callbacks, shuffle=False)
        return [keras.ops.convert_to_numpy(w) for w in model.weights]

    watched = weights([km.callbacks.MonosemanticityMonitor(inputs(8))])
    for a, b in zip(weights([]), watched, strict=True):
        np.testing.assert_array_equal(a, b)


def test_deep_copy_of_a_used_monitor():
    model, monitor = watched_model(), km.callbacks.MonosemanticityMonitor(inputs(8))
    fit(model, monitor)
    twin = copy.deepcopy(monitor)
    assert twin.rows == monitor.rows
    assert twin.rows is not monitor.rows
    fit(watched_model(), twin, epochs=2)
    assert len(monitor.rows) == 1
    assert len(twin.rows) == 2


@pytest.mark.one_backend
def test_csv_logger_carries_the_figures(tmp_path):
    path = tmp_path / "log.csv"
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8), every=2)
    logger = keras.callbacks.CSVLogger(str(path))
    fit(watched_model(), monitor, epochs=3, callbacks=[logger])
    rows = list(csv.DictReader(path.open()))
    tails = [float(row["inhibition_ms_tail"]) for row in rows]
    measured = [row["tail"] for row in monitor.rows]
    np.testing.assert_allclose(tails, [measured[i] for i in (0, 0, 1)])


def test_nested_and_subclassed_models_are_reached():
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder = watched_model()
            self.scale = km.layers.MonosemanticScale(axis=-1, name="scale")

        def call(self, x, training=None):
            return self.scale(self.encoder(x, training=training), training=training)

    model = Outer()
    model.compile("sgd", "mse")
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8))
    fit(model, monitor)
    assert {row["layer"] for row in monitor.rows} == {"inhibition", "scale"}
    fit(model, km.callbacks.MonosemanticityMonitor(inputs(8), layers=["hidden"]))


@pytest.mark.one_backend
def test_layers_of_the_same_name_are_told_apart():
    def block(name):
        parts = [keras.Input((6,)), km.layers.MonosemanticScale(name="watched")]
        return keras.Sequential(parts, name=name)

    model = keras.Sequential([keras.Input((6,)), block("a"), block("b")])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    history = fit(model, km.callbacks.MonosemanticityMonitor(inputs(8)))
    assert "a/watched_ms_top1" in history.history
    assert "b/watched_ms_top1" in history.history


def test_dict_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    watched = km.layers.MonosemanticScale(name="watched")(joined)
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(watched))
    model.compile("sgd", "mse")
    x = {"a": inputs(32, 2), "b": inputs(32, 3)}
    monitor = km.callbacks.MonosemanticityMonitor(x, batch_size=10)
    model.fit(x, inputs(32, 1), verbose=0, callbacks=[monitor])
    assert np.isfinite(monitor.rows[0]["top1"])


def test_without_a_history_the_figures_are_nan():
    model = watched_model()
    model.get_layer("inhibition").trainable = False
    model.compile("sgd", "mse")
    history = fit(model, km.callbacks.MonosemanticityMonitor(inputs(8)))
    assert np.isnan(history.history["inhibition_ms_top1"][0])
    assert np.isnan(history.history["inhibition_inhibited"][0])


def test_the_layers_are_left_as_they_were():
    model = watched_model()
    fit(model, km.callbacks.MonosemanticityMonitor(inputs(8), layers=["hidden"]))
    assert "call" not in vars(model.get_layer("hidden"))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"data": inputs(8), "layers": ["hiden"]},
            r"has no \['hiden'\]. It has: \['hidden', 'inhibition', 'out'\]",
        ),
        ({"data": None}, "`data` must hold inputs .*data=None.*x_val"),
        (
            {"data": {"a": inputs(3), "b": inputs(4)}},
            "same number of samples.*Received lengths",
        ),
        ({"data": inputs(0)}, "at least one"),
    ],
)
def test_bad_settings_stop_before_training(arguments, message):
    model = watched_model()
    before = keras.ops.convert_to_numpy(model.get_layer("hidden").kernel).copy()
    with pytest.raises(ValueError, match=message):
        fit(model, km.callbacks.MonosemanticityMonitor(**arguments))
    after = keras.ops.convert_to_numpy(model.get_layer("hidden").kernel)
    np.testing.assert_array_equal(before, after)


def test_a_model_without_our_layers_needs_names():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, name="only")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"no layer of keras_mono.*\['only'\]"):
        fit(model, km.callbacks.MonosemanticityMonitor(inputs(8)))


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_must_be_a_positive_integer(every):
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        km.callbacks.MonosemanticityMonitor(inputs(8), every=every)


def test_unknown_unit():
    with pytest.raises(ValueError, match="'epoch' or 'batch'"):
        km.callbacks.MonosemanticityMonitor(inputs(8), unit="step")


@pytest.mark.one_backend
def test_to_frame_and_plot():
    monitor = km.callbacks.MonosemanticityMonitor(
        inputs(8), layers=["hidden", "inhibition"]
    )
    fit(watched_model(), monitor, epochs=3)
    frame = monitor.to_frame()
    assert len(frame) == 6
    assert {"epoch", "layer", "reference", "top1", "inhibited"} <= set(frame.columns)
    figure = monitor.plot()
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 6 + ("Dead neurons" in titles)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    drawn = lines["inhibition"].get_ydata()
    np.testing.assert_allclose(drawn, frame[frame.layer == "inhibition"].top1)
    assert [line.get_label() for line in figure.axes[-1].get_lines()] == ["inhibition"]
    for axes in figure.axes:  # no mark is cut off
        highest = max(max(line.get_ydata()) for line in axes.get_lines())
        assert axes.get_ylim()[1] > 1.04 * highest


@pytest.mark.one_backend
def test_plot_before_training():
    with pytest.raises(ValueError, match="Train with the monitor first"):
        km.callbacks.MonosemanticityMonitor(inputs(8)).plot()
    nothing = {"layer": "a", "epoch": 0, "top1": np.nan}
    with pytest.raises(ValueError, match="Received 1 without"):
        km.analysis.plots.tail_over_training([nothing])


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("module", "use"), [("pandas", "to_frame"), ("matplotlib.figure", "plot")]
)
def test_a_missing_extra_is_named(monkeypatch, module, use):
    monitor = km.callbacks.MonosemanticityMonitor(inputs(8))
    fit(watched_model(), monitor)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "\.\[analysis\]"'):
        getattr(monitor, use)()


@pytest.mark.parametrize("data", [None, inputs(8)])
def test_entries_left_out_are_counted(data):
    model = threshold_model()
    x = inputs(64)
    x[3, 0] = np.nan
    monitor = km.callbacks.MonosemanticityMonitor(data)
    model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0, callbacks=[monitor])
    # A NaN among the inputs of a Dense layer is one in each of its outputs, and the
    # weights it leads to make all later ones NaN.
    layer = model.get_layer("inhibition")
    history = model.history.history["inhibition_non_finite"]
    assert history[-1] == float(keras.ops.convert_to_numpy(layer.non_finite)) > 0
    assert 0 < history[0] < history[1]
    (panel,) = (
        a for a in monitor.plot().axes if a.get_title() == "Entries left out so far"
    )
    assert panel.lines


@pytest.mark.parametrize("data", [None, inputs(8)])
def test_a_layer_that_is_off_selects_nothing(data):
    monitor = km.callbacks.MonosemanticityMonitor(data)
    model = threshold_model()
    off = km.callbacks.InhibitionSchedule(lambda epoch: None if epoch else 1e-3)
    history = fit(model, monitor, epochs=2, callbacks=[off]).history
    for figure in ("inhibition_inhibited", "penalty_penalized", "penalty_penalty"):
        assert history[figure][0] != 0
        assert history[figure][1] == 0


@pytest.mark.parametrize("bad", [np.nan, 1e20])
def test_entries_left_out_are_in_no_figure(bad):
    model = keras.Sequential([keras.Input((6,)), km.layers.MonosemanticScale(name="a")])
    model.add(keras.layers.Dense(1, kernel_initializer="zeros"))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    half, spoiled = inputs(32), inputs(32)
    spoiled[:] = bad
    rows = []
    for data in (half, np.concatenate([half, spoiled])):
        monitor = km.callbacks.MonosemanticityMonitor(data)
        model.fit(half, half[:, :1], verbose=0, shuffle=False, callbacks=[monitor])
        rows.append(monitor.rows[-1])
    for figure in ("top1", "tail", "kurtosis", "threshold"):
        assert rows[1][figure] == pytest.approx(rows[0][figure], rel=0.05)
