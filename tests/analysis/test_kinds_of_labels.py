"""What labels may be: columns of tables, dates, truth values; and what they may not."""

import datetime

import numpy as np
import pytest

import keras_mono as km
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


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
    z, labels = labelled_data()
    given = KINDS[kind](labels)
    same = labels == "fr" if kind == "truth" else labels
    expected = A.feature_scores(z, same)
    found = A.feature_scores(z, given)
    np.testing.assert_allclose(found.phi, expected.phi)
    np.testing.assert_allclose(A.ks_statistic(z, given), A.ks_statistic(z, same))
    model = one_layer()
    profile = A.profile(model, z, given, ["units"], verbose=0)["units"]
    assert len(profile.scores.features) == len(expected.features)


def test_dates_are_labels():
    z, _ = labelled_data()
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
    z, _ = labelled_data()
    given, model = np.array(labels, object), one_layer()
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
