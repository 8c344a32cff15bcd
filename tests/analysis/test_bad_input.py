"""What every analysis makes of bad input: an error that says so, or a stated result."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain

A = km.analysis
NEURONS = 5


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(NEURONS, name="units"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.001), "mse")
    x, labels = good()
    model.fit(x, labels[:, None], batch_size=10, verbose=0)
    return model


def good():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)).astype("float32"), np.arange(60) % 3


def of_model(name):
    """A call `f(model, x, labels, layer)` of an analysis that runs the model."""

    def call(model, x, labels, layer="units", tmp_path=None):
        if name == "activations":
            return A.activations(model, x, [layer])
        if name == "profile":
            return A.profile(model, x, labels, [layer], verbose=0)
        if name == "report":
            return A.report(model, x, labels, [layer], tmp_path / "a.html", verbose=0)
        y = np.zeros((len(x), 1), "float32")
        if name == "ablation":
            return A.ablation(model, layer, [1], x, y, labels)
        layer = "inhibition" if layer == "units" else layer
        return A.decrease_ratio(model, layer, x, y, batch_size=10)

    return call


RUN_THE_MODEL = ["activations", "profile", "report", "ablation", "decrease_ratio"]
TAKE_LABELS = ["profile", "report", "ablation"]


@pytest.mark.one_backend
@pytest.mark.parametrize("name", RUN_THE_MODEL)
def test_an_unknown_layer(name, model, tmp_path):
    with pytest.raises(ValueError, match=r"\['nowhere'\].*'units'"):
        of_model(name)(model, *good(), layer="nowhere", tmp_path=tmp_path)


@pytest.mark.one_backend
def test_layers_of_several_outputs(tmp_path):
    """Before the model runs: these inputs are of no use to it."""
    inputs = keras.Input((5, 4))
    lstm = keras.layers.LSTM(3, return_state=True, name="lstm")
    model = keras.Model(inputs, keras.layers.Dense(1)(lstm(inputs)[0]))
    for name in ("activations", "profile", "report"):
        with pytest.raises(ValueError, match=r"'lstm' has 3 outputs.*Identity"):
            of_model(name)(model, *good(), layer="lstm", tmp_path=tmp_path)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["profile", "report"])
def test_one_hot_labels_and_a_column_of_labels(name, model, tmp_path):
    x, labels = good()
    for given, advice in (
        (np.eye(3)[labels], r"one-hot.*`labels.argmax\(axis=-1\)`"),
        (labels[:, None], r"Pass `labels\[..., 0\]`"),
    ):
        with pytest.raises(ValueError, match=advice):
            of_model(name)(model, x, given, tmp_path=tmp_path)
        with pytest.raises(ValueError, match=advice):
            A.feature_scores(x, given)


def test_what_is_no_profile_and_no_layers(model):
    x, labels = good()
    with pytest.raises(ValueError, match=r"at least two models.*None, a NoneType"):
        A.compare(None)
    with pytest.raises(ValueError, match=r"profile of one layer.*Received: a dict"):
        A.measure_agreement(A.profile(model, x, labels, ["units"], verbose=0))
    with pytest.raises(ValueError, match="no layer to watch"):
        A.profile(model, x, labels, None)
    with pytest.raises(ValueError, match="data without targets"):
        A.profile(model, x, None, ["units"])


@pytest.mark.one_backend
@pytest.mark.parametrize("name", RUN_THE_MODEL)
def test_an_empty_batch(name, model, tmp_path):
    x, labels = good()
    with pytest.raises(ValueError, match=r"at least (one|two)"):
        of_model(name)(model, x[:0], labels[:0], tmp_path=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.one_backend
@pytest.mark.parametrize("name", TAKE_LABELS)
def test_labels_of_another_length(name, model, tmp_path):
    x, labels = good()
    with pytest.raises(ValueError, match=r"one entry per sample.*60"):
        of_model(name)(model, x, labels[:-1], tmp_path=tmp_path)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", ["profile", "report"])
def test_one_feature_only(name, model, tmp_path):
    x, labels = good()
    with pytest.raises(ValueError, match=r"at least two features.*only \[0\]"):
        of_model(name)(model, x, 0 * labels, tmp_path=tmp_path)


def test_ablation_of_one_feature_gives_its_loss(model):
    x, labels = good()
    found = of_model("ablation")(model, x, 0 * labels)
    assert found.features.tolist() == [0]
    assert found.increase.shape == (1, 1)


@pytest.fixture
def half_dead(model):
    """Neuron 0 never changes; sample 7 gives NaN everywhere."""
    layer = model.get_layer("units")
    before = layer.get_weights()
    kernel = before[0].copy()
    kernel[:, 0] = 0
    layer.set_weights([kernel, before[1]])
    x, labels = good()
    x[7] = np.nan
    yield model, x, labels
    layer.set_weights(before)


def test_constant_neurons_and_nan_in_a_profile(half_dead, tmp_path):
    model, x, labels = half_dead
    found = of_model("profile")(model, x, labels)["units"]
    assert np.isnan(found.scores.best_phi[0])
    assert np.isfinite(found.scores.best_phi[1:]).all()
    assert np.isnan(found.ks[0])
    assert np.isfinite(found.ks[1:]).all()
    assert found.scores.ranking()[-1] == 0
    assert found.scores.count[labels[7], 1] == 19  # of 20: the NaN is left out
    without = np.arange(60) != 7
    clean = of_model("profile")(model, x[without], labels[without])["units"]
    np.testing.assert_allclose(found.scores.phi, clean.scores.phi, rtol=1e-5)
    np.testing.assert_allclose(found.ks, clean.ks, rtol=1e-5)
    np.testing.assert_allclose(found.fkr.rate, clean.fkr.rate, rtol=1e-5)
    page = of_model("report")(model, x, labels, tmp_path=tmp_path)
    assert "neuron 0," not in page.read_text("utf-8")


def test_constant_neurons_and_nan_in_the_functions():
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(60, 3)), np.arange(60) % 3
    z[:, 0] = 2.0
    z[7, 1] = np.nan
    assert np.isnan(A.ks_statistic(z, labels)[0])
    assert np.isfinite(A.ks_statistic(z, labels)[1:]).all()
    assert 0 <= A.false_killing_rate(z, labels, 0.1).rate <= 1
    probe = A.probe(z, labels)
    # Of a constant the best rule is "always": F1 at the chance level.
    np.testing.assert_allclose(probe.f1[:, 0], probe.chance, atol=1e-12)
    assert A.summary(z)["top1"] > 0


def test_ablation_where_a_sample_is_nan_says_so(half_dead):
    model, x, labels = half_dead
    with pytest.raises(ValueError, match=r"NaN or infinite.*1 of 60 samples"):
        of_model("ablation")(model, x, labels)
    x[7] = 0
    found = A.ablation(model, "units", [0], x, x[:, :1], labels)
    np.testing.assert_allclose(found.increase, 0, atol=1e-6)  # always at its mean


def test_comparison_of_profiles_without_a_scored_neuron(model):
    x, labels = good()
    dead = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="units")])
    dead.get_layer("units").set_weights([np.zeros((4, 2)), np.ones(2)])
    profiles = {
        "alive": of_model("profile")(model, x, labels),
        "dead": of_model("profile")(dead, x, labels),
    }
    row = A.compare(profiles)[1]
    assert row["effect"] is None
    assert row["p_value"] is None
    assert np.isnan(row["mean_phi"])


@pytest.mark.one_backend
def test_a_report_of_a_layer_that_never_changes(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="units")])
    model.get_layer("units").set_weights([np.zeros((4, 2)), np.ones(2)])
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    labels = np.arange(60) % 3
    out = tmp_path / "page.html"
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        km.analysis.report(model, x, labels, ["units"], out, verbose=0)
    assert "<img " in out.read_text("utf-8")


def profiles():
    x, labels = good()
    model = chain((4,), keras.layers.Identity(name="same"))
    found = A.profile(model, x, labels, ["same"], verbose=0)
    return {"one": found, "other": found}


BAD_NUMBERS = [
    *[("fraction", value) for value in (0, -1, 1, 1.5, np.nan)],
    *[("variance_compensation", value) for value in (-0.9, np.nan)],
    *[("most", value) for value in (-1, 0, 1.5)],
    *[("held_out", value) for value in (5, 0, 1, np.nan)],
    *[("fractions", value) for value in (2, [0.1, 0], [], np.nan)],
    *[("sampled_entries", value) for value in (3000.0, 0, True)],
]


@pytest.mark.one_backend
@pytest.mark.parametrize(("name", "value"), BAD_NUMBERS)
def test_a_number_out_of_its_range(name, value):
    x, labels = good()
    calls = {
        "fraction": lambda **given: A.compare(profiles(), **given),
        "variance_compensation": lambda **given: A.summary(x, **given),
        "most": lambda **given: A.natural_languages(["de"], **given),
        "held_out": lambda **given: A.probe(x, labels, **given),
    }

    def profile(**given):  # of inputs that would end in another error
        model = chain((3,), keras.layers.Identity(name="a"))
        return A.profile(model, x, labels, ["a"], verbose=0, **given)

    with pytest.raises(ValueError, match=rf"`{name}` must .*Received: {name}="):
        calls.get(name, profile)(**{name: value})
