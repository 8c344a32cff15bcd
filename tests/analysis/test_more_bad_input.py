"""What people hand over: tables' columns, dates, padding, frozen models, odd paths."""

import datetime
import zipfile

import keras
import numpy as np
import pytest

import keras_mono as km
from keras_mono.__main__ import main

A = km.analysis


def data(n=90):
    rng = np.random.default_rng(0)
    labels = np.array(["de", "fr", "it"])[np.arange(n) % 3]
    return rng.normal(size=(n, 5)) + (labels == "fr")[:, None], labels


KINDS = {
    "pandas strings": lambda labels: __import__("pandas").Series(labels),
    "categories": lambda labels: __import__("pandas").Series(labels, dtype="category"),
    "objects": lambda labels: labels.astype(object),
    "a list": lambda labels: labels.tolist(),
    "truth": lambda labels: labels == "fr",
    "numbers": lambda labels: np.unique(labels, return_inverse=True)[1].astype(
        "uint64"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_kind(kind):
    z, labels = data()
    given = KINDS[kind](labels)
    same = labels == "fr" if kind == "truth" else labels
    expected = A.feature_scores(z, same)
    found = A.feature_scores(z, given)
    np.testing.assert_allclose(found.phi, expected.phi)
    np.testing.assert_allclose(A.ks_statistic(z, given), A.ks_statistic(z, same))
    model = built()
    profile = A.profile(model, z, given, ["units"], verbose=0)["units"]
    assert len(profile.scores.features) == len(expected.features)


def test_dates_are_labels():
    z, _ = data()
    days = [datetime.date(2026, 1, 1 + i % 3) for i in range(90)]
    found = A.feature_scores(z, np.array(days, "datetime64[D]"))
    assert found.features.tolist() == ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([None, "a", "b"] * 30, "30 missing"),
        ([np.nan, 1.0, 2.0] * 30, "30 missing"),
        ([1, "a", "b"] * 30, r"one kind.*\['int', 'str'\]"),
        ([{}, {}, {}] * 30, r"one kind.*\['dict'\]"),
    ],
)
def test_labels_that_are_none(labels, message, tmp_path):
    z, _ = data()
    given, model = np.array(labels, object), built()
    y = np.zeros((90, 3))
    for call in (
        lambda: A.feature_scores(z, given),
        lambda: A.probe(z, given),
        lambda: A.profile(model, z, given, ["units"], verbose=0),
        lambda: A.report(model, z, given, ["units"], tmp_path / "a.html", verbose=0),
        lambda: A.ablation(model, "units", [0], z, y, given, "mse"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def built(units=3):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(units, name="units")]
    )


@pytest.mark.parametrize("value", [0.1, 1e6 / 3, -1e-9 / 7])
def test_a_constant_that_is_not_exact_in_binary(value):
    z = np.random.default_rng(0).normal(size=(1000, 3))
    z[:, 1] = value
    labels = np.arange(1000) % 3
    scores = A.feature_scores(z, labels)
    assert np.isnan(scores.best_phi[1])
    assert scores.ranking()[-1] == 1
    assert np.isnan(A.ks_statistic(z, labels)[1])
    without = A.false_killing_rate(z[:, [0, 2]], labels, 0.1)
    np.testing.assert_allclose(A.false_killing_rate(z, labels, 0.1), without)
    assert A.summary(z[:, 1:2], 0.0)["top1"] == 0.0


def test_a_rare_feature_that_would_not_be_judged():
    z = np.random.default_rng(0).normal(size=(3000, 2))
    labels = (np.arange(3000) < 2) * 1
    with pytest.raises(ValueError, match=r"both hold every feature.*hold out more"):
        A.probe(z, labels, held_out=0.1)


def test_chance_of_a_probe_is_of_what_was_held_out():
    z, labels = data(91)
    found = A.probe(z, labels, held_out=0.5)
    shares = np.array([15, 15, 16]) / 46
    np.testing.assert_allclose(np.sort(found.chance), 2 * shares / (1 + shares))


def padded(layer):
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="embedding")(inputs)
    x = layer(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling1D(name="pool")(x))


@pytest.mark.parametrize("which", ["ours", "dense"])
def test_padding_counts_in_no_figure(which):
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, size=(60, 6))
    labels = np.arange(60) % 2
    x[labels == 1, 3:] = 0  # only the lengths tell the labels apart
    keras.utils.set_random_seed(0)
    layer = {
        "ours": km.layers.MonosemanticScale(axis=-1, name="here"),
        "dense": keras.layers.Dense(3, name="here"),
    }[which]
    model = padded(layer)
    found = A.profile(model, x, labels, ["here"], verbose=0)["here"]
    assert found.inputs == 30 * 6 + 30 * 3
    z = A.activations(model, x, ["here"], masked=np.nan)["here"]
    np.testing.assert_array_equal(np.isnan(z[..., 0]), x == 0)
    raw = A.activations(model, x, ["here"])["here"]
    assert not np.isnan(raw).any()
    expected = A.feature_scores(z, labels)
    np.testing.assert_allclose(found.scores.phi, expected.phi, rtol=1e-5)
    # A layer behind the sequence has its samples, all of them.
    pooled = A.profile(model, x, labels, ["pool"], verbose=0)["pool"]
    assert pooled.inputs == 60


def test_the_loss_of_padding_is_not_counted():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = rng.integers(1, 9, size=(40, 6))
    x[:, 4:] = 0
    y = rng.normal(size=(40, 6, 1)).astype("float32")
    found = A.ablation(model, "out", [0], x, y, np.arange(40) % 2)
    assert found.loss.mean() == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-4)


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
    z, labels = data()
    model = built(1)
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


def test_losses_and_models_that_do_not_fit():
    z, labels = data()
    model = built(1)
    with pytest.raises(ValueError, match=r"one number a sample.*shape \(\)"):
        A.ablation(
            model, "units", [0], z, z[:, :1], labels, lambda a, b: keras.ops.mean(a - b)
        )
    two = keras.Model(model.inputs, [model.outputs[0], model.outputs[0] * 2])
    with pytest.raises(ValueError, match="has 2 outputs"):
        A.ablation(two, "units", [0], z, z[:, :1], labels, "mse")


class Half(keras.Model):
    """A layer that sees half of the samples."""

    def __init__(self):
        super().__init__()
        self.units = keras.layers.Dense(3, name="units")

    def call(self, x):
        return self.units(x[: len(x) // 2])


def test_a_layer_that_sees_some_samples_only():
    z, labels = data()
    model = Half()
    with pytest.raises(ValueError, match=r"is not built\. Call it once"):
        A.activations(model, z, ["units"])
    model(z[:4].astype("float32"))
    with pytest.raises(ValueError, match="saw 45 of 90 samples"):
        A.profile(model, z, labels, ["units"], verbose=0)


def test_errors_are_told_as_they_are():
    """Not as Keras wraps what happens inside a layer's call."""
    z, labels = data()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="units")])
    with pytest.raises(ValueError) as found:  # noqa: PT011
        A.profile(model, z, labels.reshape(30, 3)[[0] * 90], ["units"], verbose=0)
    assert str(found.value).startswith("`labels` must have one entry")


@pytest.mark.parametrize("size", [0, -1, 1.5, None])
def test_batch_sizes(size):
    z, labels = data()
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        A.profile(built(), z, labels, ["units"], batch_size=size, verbose=0)


@pytest.mark.parametrize("x", [None, []])
def test_no_data(x):
    with pytest.raises(ValueError, match="`data` must be an array"):
        A.activations(built(), x, ["units"])


def test_a_sample_that_is_too_small():
    z, labels = data(300)
    with pytest.raises(ValueError, match="at least 90 for layer 'units'"):
        A.profile(built(), z, labels, ["units"], sampled_entries=10, verbose=0)


def test_the_error_of_a_sampled_ks_is_the_rarest_features():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 5))
    labels = (np.arange(4000) % 10 == 0) * 1
    model = built()
    found = A.profile(model, z, labels, ["units"], sampled_entries=3000, verbose=0)
    found = found["units"]
    assert found.sampled == 1000
    rare = 1000 / 10  # of the sample, about
    expected = np.sqrt(np.log(40) / 2) * (1 / np.sqrt(rare) + 1 / np.sqrt(1000))
    assert found.ks_error == pytest.approx(expected, rel=0.15)
    whole = A.profile(model, z, labels, ["units"], verbose=0)["units"]
    assert np.abs(found.ks - whole.ks).max() < found.ks_error


def test_one_fraction():
    z, labels = data()
    profiles = {
        name: A.profile(built(n), z, labels, ["units"], 0.02, verbose=0)
        for name, n in {"a": 3, "b": 6}.items()
    }
    assert len(A.compare(profiles)) == 2
    with pytest.raises(ValueError, match="`resamples` must be a positive integer"):
        A.compare(profiles, resamples=0)
    with pytest.raises(ValueError, match="must be what `profile` gave"):
        A.compare({"a": profiles["a"]["units"], "b": profiles["b"]})
    with pytest.raises(ValueError, match="at least two models"):
        A.compare(list(profiles.values()))


def test_comparison_in_numbers():
    """Interval as scipy's bootstrap, the nearest fraction, layer by layer."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(400, 5)), np.arange(400) % 4
    z[labels == 1, 0] += 3
    x = z.astype("float32")

    def of(units):
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(units, name="first"),
                keras.layers.Dense(units, activation="relu", name="second"),
            ]
        )
        return A.profile(model, x, labels, ["first", "second"], verbose=0)

    keras.utils.set_random_seed(1)
    profiles = {"a": of(20), "b": of(30)}
    rows = A.compare(profiles, fraction=0.019)
    from scipy import stats

    from keras_mono.analysis.compare import cliffs_delta

    for row, layer in zip(list(rows)[2:], ["first", "second"], strict=True):
        ours, base = (profiles[m][layer].scores.best_phi for m in "ba")
        ours, base = ours[~np.isnan(ours)], base[~np.isnan(base)]
        brute = np.mean(np.sign(ours[:, None] - base[None, :]))
        assert row["effect"] == pytest.approx(brute)
        interval = stats.bootstrap(
            (ours, base),
            cliffs_delta,
            vectorized=False,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(0),
        ).confidence_interval
        assert row["effect_low"] == pytest.approx(interval.low, abs=0.05)
        assert row["effect_high"] == pytest.approx(interval.high, abs=0.05)
        at = list(profiles["b"][layer].fkr.fraction).index(0.02)
        assert row["fkr"] == pytest.approx(profiles["b"][layer].fkr.rate[at])


def test_false_killing_never_selects_a_phi_of_0():
    z = np.zeros((100, 1))
    z[:2] = [[1.0], [-1.0]]  # the mean is 0: φ is 0 everywhere else
    labels = np.arange(100) % 2
    found = A.false_killing_rate(z, labels, 0.5)
    assert found.selected == 0.02


def test_a_neuron_seen_once_has_no_score():
    z = np.full((50, 2), np.nan)
    z[0, 0] = 5.0
    z[:, 1] = np.random.default_rng(0).normal(size=50)
    assert A.summary(z, 0.5)["top1"] == pytest.approx(A.summary(z[:, 1:], 0.5)["top1"])


def test_frozen_models_and_our_layers_in_the_report(tmp_path):
    z, labels = data()
    keras.utils.set_random_seed(0)
    frozen = built(3)
    frozen.trainable = False
    watched = km.insert_after(built(6), "units", km.layers.MonosemanticScale())
    models = {"frozen": frozen, "watched": watched}
    path = A.report(models, z, labels, ["units"], tmp_path / "a.html", verbose=0)
    assert "frozen: 18 weights; watched: 36 weights." in path.read_text("utf-8")


def test_a_rare_feature_is_in_the_pictures():
    from keras_mono.analysis.report import _some_of_each_feature

    labels = np.zeros(20_000, int)
    labels[7] = 1
    few = _some_of_each_feature(labels, np.arange(2))
    assert 7 in few
    assert 2_000 < len(few) < 6_000
    by_position = np.zeros((20_000, 4), int)
    by_position[9, 2] = 1
    assert 9 in _some_of_each_feature(by_position, np.arange(2))


def test_a_report_with_two_features_of_which_one_is_rare(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(9000, 5)).astype("float32")
    labels = (np.arange(9000) == 3) * 1
    A.report(built(), z, labels, ["units"], tmp_path / "a.html", verbose=0)
    assert (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("models", "path", "message"),
    [
        ({}, "a.html", "`models` must be a Keras model"),
        ("model.keras", "a.html", "`models` must be a Keras model"),
        (None, "", "must be a file in a folder that exists"),
        (None, "nowhere/a.html", "must be a file in a folder that exists"),
    ],
)
def test_reports_that_cannot_be_written(models, path, message, tmp_path):
    z, labels = data()
    models = built() if models is None else models
    with pytest.raises(ValueError, match=message):
        A.report(models, z, labels, ["units"], tmp_path / path, verbose=0)


def npz_of(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def test_the_command_tells_what_is_wrong_with_files(tmp_path, capsys):
    z, labels = data()
    model = tmp_path / "m.keras"
    built().save(model)
    good = npz_of(tmp_path, x=z, labels=labels)
    np.save(tmp_path / "array.npy", z)
    (tmp_path / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as file:
        file.writestr("x.npy", "nothing")
    (tmp_path / "torn.npz").write_bytes(good.read_bytes()[:300])
    np.savez(tmp_path / "objects.npz", x=z, labels=labels.astype(object))
    (tmp_path / "bad.keras").write_text("no")

    def told(models, file):
        layers = ["--layers", "units", "--out", str(tmp_path / "out.html")]
        given = ["report", *map(str, models), "--data", str(file), *layers]
        assert main(given) == 2
        return capsys.readouterr().err

    assert "must hold the array `labels`" in told([model], tmp_path / "other.npz")
    for name in ("empty.npz", "torn.npz", "objects.npz"):
        assert "not a file of numpy.savez" in told([model], tmp_path / name), name
    assert "must hold the array `labels`" in told([model], tmp_path / "array.npy")
    assert "not a model that can be loaded" in told([tmp_path / "bad.keras"], good)
    assert "Name each model once" in told([model, model], good)
    assert "nowhere.npz" in told([model], tmp_path / "nowhere.npz")


def test_inference_is_what_is_recorded():
    """Dropout does nothing, also where the loss is measured."""
    z, labels = data()
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


def test_steps_with_dropout_are_paired():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, name="hidden"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"])
    z, _ = data()
    x, y = z.astype("float32"), z[:, :1]
    model.fit(x, y, batch_size=30, verbose=0)
    before = [keras.ops.convert_to_numpy(v) for v in model.metrics_variables]
    rows = list(A.decrease_ratio(model, "inhibition", x, y, [1.0, 1.0, 1.0], 30))
    ratios = {row["decrease_ratio"] for row in rows[1:]}
    assert len(ratios) == 1
    for variable, value in zip(model.metrics_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    x[0] = np.nan  # the first batch's loss, and so its step, is NaN
    rows = A.decrease_ratio(model, "inhibition", x, y, batch_size=30)
    assert [row["batches"] for row in rows] == [2, 2]
