"""Labels of every kind name the features they are."""

import keras
import numpy as np
import pandas as pd
import pytest

import keras_mono as km

pytestmark = pytest.mark.one_backend

A = km.analysis
LARGE = 2**63


def z_for(labels):
    rng = np.random.default_rng(0)
    number = np.unique(np.array(labels, object), return_inverse=True)[1]
    return rng.normal(size=(len(labels), 3)) + 3.0 * number[:, None]


@pytest.mark.parametrize("make", [list, lambda x: np.array(x, np.uint64)])
def test_integers_on_both_sides_of_the_largest_signed_one(make):
    each = [3, LARGE - 1, LARGE, LARGE + 1]
    labels = [each[i % 4] for i in range(40)]
    z = z_for(labels)
    expected = A.feature_scores(z, np.arange(40) % 4)
    scores = A.feature_scores(z, make(labels))
    assert scores.features.tolist() == each
    np.testing.assert_array_equal(scores.phi, expected.phi)
    assert (
        A.ks_statistic(z, make(labels)) == A.ks_statistic(z, np.arange(40) % 4)
    ).all()
    statistics = A.FeatureStatistics(3)
    for start in range(0, 40, 4):
        statistics.add(z[start : start + 4], make(labels[start : start + 4]))
    assert statistics.scores().features.tolist() == each
    np.testing.assert_allclose(statistics.scores().phi, expected.phi, rtol=1e-9)


def test_a_profile_with_large_labels():
    labels = np.array([LARGE - 2, LARGE + 2] * 20, np.uint64)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity(name="a")])
    z = z_for(labels.tolist())
    found = A.profile(model, z, labels, ["a"], batch_size=8, verbose=0)["a"]
    assert found.scores.features.tolist() == [LARGE - 2, LARGE + 2]


def test_integers_that_no_type_holds():
    for labels in ([-1, LARGE] * 4, [0, 2 * LARGE] * 4):
        with pytest.raises(ValueError, match="must fit into int64 or into uint64"):
            A.feature_scores(np.ones((8, 2)), labels)


def test_complex_labels_have_no_order():
    with pytest.raises(ValueError, match="numbers that have an order"):
        A.feature_scores(np.ones((4, 2)), np.array([1j, 2j, 1j, 2j]))


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series([1, pd.NA, 2, 1], dtype="Int64"),
        pd.Series(["a", None, "b", "a"], dtype="string"),
        pd.Series([True, pd.NA, False, True], dtype="boolean"),
        pd.Series(["a", pd.NA, "b", "a"], dtype=object),
        ["a", pd.NA, "b", "a"],
        pd.Series(["a", None, "b", "a"], dtype="category"),
        [pd.Timestamp("2026-01-01"), pd.NaT, None, pd.NA],
    ],
)
def test_missing_labels_of_pandas(labels):
    with pytest.raises(ValueError, match=r"[13] missing ones"):
        A.feature_scores(np.ones((4, 2)), labels)


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "Float64", "boolean", "string"])
def test_labels_of_pandas(dtype):
    labels = pd.Series([0, 1, 1, 0] * 5).astype("boolean").astype(dtype)
    z = z_for([0, 1, 1, 0] * 5)
    expected = A.feature_scores(z, [0, 1, 1, 0] * 5)
    np.testing.assert_allclose(A.feature_scores(z, labels).phi, expected.phi)


def test_statistics_of_many_features_are_those_of_each():
    rng = np.random.default_rng(0)
    labels = rng.integers(50, size=400)
    z = rng.normal(size=(400, 3)) + labels[:, None] % 7
    z[rng.random(z.shape) < 0.1] = np.nan
    statistics = A.FeatureStatistics(3)
    for start in range(0, 400, 23):
        statistics.add(z[start : start + 23], labels[start : start + 23])
    scores = statistics.scores()
    variance, mean = np.nanvar(z, axis=0, ddof=1), np.nanmean(z, axis=0)
    phi = (z - mean) ** 2 / variance
    for number, feature in enumerate(scores.features):
        expected = np.nanmean(phi[labels == feature], axis=0)
        np.testing.assert_allclose(scores.phi[number], expected, rtol=1e-9)
        others = np.nanmean(phi[labels != feature], axis=0)
        np.testing.assert_allclose(scores.phi_of_others[number], others, rtol=1e-9)


def test_pictures_of_many_features_show_those_that_matter():
    features = 500
    labels = np.repeat(np.arange(features), 3)
    z = np.random.default_rng(0).normal(size=(len(labels), 2)) * 0.1
    z[labels == 17] += 9.0
    for figure in (
        A.plots.neuron_response(z, labels, 0),
        A.plots.feature_heat_map(A.feature_scores(z, labels)),
    ):
        axes = figure.axes[0]
        shown = [t.get_text() for t in axes.get_xticklabels()]
        assert len(shown) == 60
        assert "17" in shown
        assert shown == sorted(shown, key=int)
        assert "the 60 of 500 features" in axes.get_title()
    figure = A.plots.neuron_response(z, labels, 0, most=500)
    assert len(figure.axes[0].get_xticklabels()) == 500


def test_a_report_on_many_classes(tmp_path):
    labels = np.repeat(np.arange(400), 2)
    x = np.random.default_rng(0).normal(size=(800, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="a")])
    path = A.report(model, x, labels, ["a"], tmp_path / "a.html", verbose=0)
    text = path.read_text("utf-8")
    assert "800 inputs of 400 features" in text
    assert "Only the 60 features with its largest φ." in text


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", float("nan"), "b"], r"Received: 30 missing ones"),
        (["a", None, "b"], r"Received: 30 missing ones"),
        ([1, "1", 2], r"one kind.*\['int', 'str'\]"),
        ([True, 1, 2], r"one kind.*\['bool', 'int'\]"),
        (None, r"name the feature of every input. Received: None"),
    ],
)
def test_a_plain_list_is_not_converted(labels, message):
    """NumPy would make a string of NaN, and one label of 1 and '1'."""
    z = np.random.default_rng(0).normal(size=(90, 2))
    given = labels if labels is None else labels * 30
    with pytest.raises(ValueError, match=message):
        km.analysis.feature_scores(z, given)
