"""What a report holds of every neuron, as JSON and in its page."""

import json

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted
from support.report_page import ReportPage
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


def identity(shape, *more):
    """A network whose layer "same" gives its inputs."""
    same = keras.layers.Identity(name="same")
    return keras.Sequential([keras.Input(shape), same, *more])


def written(folder, *given, layers=("same",), **options):
    """What `report` writes as JSON without a page."""
    path = folder / "report.json"
    assert A.report(*given, layers, None, json=path, verbose=0, **options) == path
    return json.loads(path.read_text("utf-8"))


def layer_of(content, model=0, layer=0):
    return content["models"][model]["layers"][layer]


@pytest.fixture(scope="module")
def data():
    z, labels = planted.activations()
    return z.astype("float32"), labels


@pytest.fixture(scope="module")
def content(data, tmp_path_factory):
    z, labels = data
    folder = tmp_path_factory.mktemp("report")
    return written(folder, identity(z.shape[1:]), z, labels, top=4)


def test_the_figures_are_those_of_the_profile(content, data):
    z, labels = data
    found = A.profile(identity(z.shape[1:]), z, labels, ["same"], verbose=0)["same"]
    layer = layer_of(content)
    assert content["format"] == "keras_mono report"
    assert content["version"] == 1
    assert content["features"] == list(planted.FEATURES)
    assert content["labels"] == list(planted.SIZES.values())
    names = [measure["name"] for measure in content["measures"]]
    assert {*names, "selective_for"} == {"best_phi", "ks", *vars(found.measures)}
    frame = found.to_frame().set_index("neuron").sort_index()
    for name in names:
        np.testing.assert_allclose(layer["measures"][name], frame[name], rtol=1e-3)
    for name, values in found.permuted.items():
        np.testing.assert_allclose(layer["permuted"][name], values, rtol=1e-3)
    best = [content["features"][i] for i in layer["best_feature"]]
    assert best == found.scores.best_feature.tolist()
    selective_for = [content["features"][i] for i in layer["selective_for"]]
    assert selective_for == found.measures.selective_for.tolist()
    assert selective_for[:3] == ["perl", "lisp", "c"]
    assert layer["dead"] == [0] * len(planted.TRUTH)


def test_the_strongest_inputs(content, data):
    z, labels = data
    for neuron, held in enumerate(layer_of(content)["neurons"]):
        order = np.argsort(-z[:, neuron], kind="stable")[:4]
        found = held["strongest"]
        assert found["sample"] == order.tolist()
        assert found["position"] == [0] * 4
        assert [content["features"][i] for i in found["feature"]] == list(labels[order])
        np.testing.assert_allclose(found["activation"], z[order, neuron], rtol=1e-3)
        assert {str(sample) for sample in found["sample"]} <= {
            *content["samples"]["shown"]
        }


def test_the_response_by_feature(content, data):
    z, labels = data
    scores = A.feature_scores(z, labels)
    for neuron, held in enumerate(layer_of(content)["neurons"]):
        assert held["feature"] == [0, 1, 2, 3]
        np.testing.assert_allclose(held["phi"], scores.phi[:, neuron], rtol=1e-3)
        for place, feature in enumerate(planted.FEATURES):
            here = z[labels == feature, neuron]
            assert held["mean"][place] == pytest.approx(here.mean(), rel=1e-3)
            expected = np.quantile(here, content["quantiles"])
            np.testing.assert_allclose(held["quantiles"][place], expected, rtol=2e-3)


def test_positions_without_padding_and_their_own_labels(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, size=(30, 5))
    ids[:, 3:] = 0  # padding
    labels = np.where(ids == 7, "seven", "other")
    table = rng.normal(size=(9, 2))
    table[0] = 50.0  # would lead if it counted
    table[7, 0] = 9.0
    embedding = keras.layers.Embedding(9, 2, mask_zero=True, name="same")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), embedding])
    embedding.set_weights([table])
    content = written(tmp_path, model, ids, labels, batch_size=7, top=3)
    layer = layer_of(content)
    assert layer["positions"] == [5]
    assert layer["inputs"] == 90
    strongest = layer["neurons"][0]["strongest"]
    first = [int(np.argmax(row == 7)) for row in ids if (row == 7).any()][:3]
    assert strongest["position"] == first
    assert strongest["activation"] == [9, 9, 9]
    assert [content["features"][i] for i in strongest["feature"]] == ["seven"] * 3
    shown = content["samples"]["shown"]
    assert content["samples"]["kind"] == "pieces"
    for sample in strongest["sample"]:
        assert shown[str(sample)] == [str(i) for i in ids[sample]]


def test_a_dead_neuron_and_values_that_are_not_finite(tmp_path):
    z, labels = labelled_data()
    z[:, 1] = 3.0
    z[:, 3] = np.nan
    z[0, 2] = np.inf
    z[1, 2] = np.nan
    layer = layer_of(written(tmp_path, identity(z.shape[1:]), z, labels))
    assert layer["dead"] == [0, 1, 0, 0, 0]
    assert layer["not_finite"] == [0, 0, 0, 1, 0]
    assert layer["measures"]["best_phi"][1:4:2] == [None, None]
    assert layer["neurons"][1]["phi"] == [None] * 3
    assert layer["neurons"][1]["mean"] == [3] * 3
    strongest = layer["neurons"][2]["strongest"]
    expected = np.argsort(-np.where(np.isfinite(z[:, 2]), z[:, 2], -np.inf))[:6]
    assert strongest["sample"] == expected.tolist()


def test_fewer_samples_than_asked_for(tmp_path):
    z, labels = labelled_data(4)
    layer = layer_of(written(tmp_path, identity(z.shape[1:]), z, labels, top=9))
    assert all(len(n["strongest"]["sample"]) == 4 for n in layer["neurons"])


def test_neurons_beyond_the_limit_have_measures_only(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_mono.analysis.page.contents._MOST_DESCRIBED", 2)
    z, labels = labelled_data()
    layer = layer_of(written(tmp_path, identity(z.shape[1:]), z, labels))
    phi = np.array(layer["measures"]["best_phi"])
    described = [i for i, held in enumerate(layer["neurons"]) if held is not None]
    assert sorted(np.argsort(-phi)[:2].tolist()) == described


def test_many_features_the_largest_are_described(tmp_path):
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(400, 3)), np.arange(400) % 50
    content = written(tmp_path, identity((3,)), z, labels)
    scores = A.feature_scores(z.astype("float32"), labels)
    for neuron, held in enumerate(layer_of(content)["neurons"]):
        largest = np.argsort(-scores.phi[:, neuron])[:20]
        assert held["feature"] == sorted(largest.tolist())
        np.testing.assert_allclose(
            held["phi"], scores.phi[held["feature"], neuron], rtol=1e-3
        )


def test_the_page_holds_what_the_file_holds(tmp_path):
    z, labels = labelled_data()
    page, file = tmp_path / "a.html", tmp_path / "a.json"
    given = one_layer(), z, labels, ["units"]
    assert A.report(*given, page, json=file, verbose=0) == page
    held = ReportPage(page.read_text("utf-8")).data
    assert held == json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((None, None), "needs `path`"),
        (("a.html", "a.html"), "which must differ"),
        (("a.html", "nowhere/a.json"), "must be a file in a folder that exists"),
    ],
)
def test_paths_that_cannot_be(paths, message, tmp_path):
    z, labels = labelled_data()
    page, file = (None if p is None else tmp_path / p for p in paths)
    with pytest.raises(ValueError, match=message):
        A.report(one_layer(), z, labels, ["nowhere"], page, json=file, verbose=0)
    assert list(tmp_path.iterdir()) == []


def test_top_must_be_a_number_of_inputs(tmp_path):
    z, labels = labelled_data()
    with pytest.raises(ValueError, match="`top` must be a positive integer"):
        A.report(one_layer(), z, labels, ["units"], tmp_path / "a.html", top=0)


def started(units=40, seed=0, shift=0.0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(units, name="units")]
    )
    kernel, bias = model.get_weights()
    model.set_weights([kernel + shift * np.random.normal(size=kernel.shape), bias])
    return model


def test_models_are_paired_by_name_and_width(tmp_path):
    z, labels = labelled_data()
    models = {
        "plain": started(),
        "trained": started(shift=0.05),
        "another": started(seed=1),
        "wide": started(60),
        "elsewhere": keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(40, name="other")]
        ),
    }
    layers = {name: ["units"] for name in models} | {"elsewhere": ["other"]}
    content = written(tmp_path, models, z, labels, layers=layers)
    of_each = {x["model"]: x["layers"][0] for x in content["comparisons"]}
    assert list(of_each) == ["trained", "another", "wide", "elsewhere"]
    assert of_each["trained"]["why_not"] is None
    assert of_each["trained"]["paired"] > 0.9
    assert abs(of_each["trained"]["shuffled"]) < 0.2
    assert of_each["another"]["why_not"] is None
    assert abs(of_each["another"]["paired"]) < 0.3
    assert of_each["wide"]["why_not"] == "It has 60 neurons here and 40 in 'plain'."
    assert "no layer of this name" in of_each["elsewhere"]["why_not"]
    assert of_each["wide"]["paired"] is None


def test_the_correlations_of_pairs(tmp_path):
    z, labels = labelled_data()
    models = {"a": one_layer(4), "b": started(4, seed=3)}
    content = written(tmp_path, models, z, labels, layers=["units"])
    found = content["comparisons"][0]["layers"][0]
    one, other = (
        A.activations(model, z, ["units"])["units"] for model in models.values()
    )
    between = np.corrcoef(one.T, other.T)[:4, 4:]
    assert found["paired"] == pytest.approx(np.diag(between).mean(), abs=1e-3)
    apart = between[~np.eye(4, dtype=bool)]
    assert found["shuffled"] == pytest.approx(apart.mean(), abs=1e-3)


def with_constants(constant, seed):
    """Twelve units on inputs of five numbers, the first of them constant."""
    rng = np.random.default_rng(seed)
    model = one_layer(12)
    kernel, bias = rng.normal(size=(5, 12)), np.zeros(12)
    kernel[:, :constant] = 0
    bias[:constant] = 0.1 + 0.05 * np.arange(constant)  # of no exact float32 mean
    model.set_weights([kernel, bias])
    return model


def test_constant_neurons_of_two_models_are_no_pairs(tmp_path):
    x = np.random.default_rng(0).normal(size=(3000, 5)).astype("float32")
    labels = np.arange(3000) % 2
    models = {"a": with_constants(8, 1), "b": with_constants(8, 2)}
    content = written(tmp_path, models, x, labels, layers=["units"])
    found = content["comparisons"][0]["layers"][0]
    one, other = (x @ model.get_weights()[0][:, 8:] for model in models.values())
    between = np.corrcoef(one.T, other.T)[:4, 4:]  # of the four that change
    assert found["paired"] == pytest.approx(np.diag(between).mean(), abs=1e-3)
    apart = between[~np.eye(4, dtype=bool)]
    assert found["shuffled"] == pytest.approx(apart.mean(), abs=1e-3)
