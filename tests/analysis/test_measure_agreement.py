"""How the measures agree, their comparison between models, and both in the report."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from scipy import stats

import keras_mono as km
from support import planted
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis
MEASURES = (
    "phi_tail",
    "best_phi",
    "class_selectivity",
    "class_purity",
    "mono_score",
    "hoyer",
    "treves_rolls",
    "wasserstein",
)


def profile_of(units=12, activation="relu"):
    """A layer of random neurons, two of which give the same."""
    z, labels = planted.activations()
    keras.utils.set_random_seed(units)
    layer = keras.layers.Dense(units, activation=activation, name="units")
    model = keras.Sequential([keras.Input((len(planted.TRUTH),)), layer])
    kernel = layer.get_weights()[0]
    kernel[:, 1] = kernel[:, 0]
    layer.set_weights([kernel, np.zeros(units)])
    return A.profile(model, z, labels, ["units"], verbose=0)["units"]


def test_agreement_is_spearmans():
    found = profile_of()
    hoyer = found.measures.hoyer.copy()
    hoyer[np.flatnonzero(~np.isnan(hoyer))[-1]] = np.nan
    found = dataclasses.replace(
        found, measures=dataclasses.replace(found.measures, hoyer=hoyer)
    )
    agreement = A.measure_agreement(found)
    assert agreement.measures == MEASURES
    every = {"best_phi": found.scores.best_phi, **vars(found.measures)}
    for i, first in enumerate(MEASURES):
        for j, second in enumerate(MEASURES):
            known = np.isfinite(every[first]) & np.isfinite(every[second])
            assert agreement.neurons[i, j] == known.sum()
            expected = stats.spearmanr(every[first][known], every[second][known])
            np.testing.assert_allclose(agreement.correlation[i, j], expected.statistic)
    # The one that is not known is left out of hoyer's, and of no other's.
    lost = A.measure_agreement(profile_of()).neurons - agreement.neurons
    assert np.diag(lost).tolist() == [int(name == "hoyer") for name in MEASURES]


def test_agreement_that_is_not_known():
    """Of fewer than three neurons, and of a measure that is the same for all."""
    two = A.measure_agreement(profile_of(2))
    assert np.isnan(two.correlation).all()
    found = profile_of()
    same = dataclasses.replace(found.measures, class_purity=np.full(12, 0.25))
    agreement = A.measure_agreement(dataclasses.replace(found, measures=same))
    unknown = np.isnan(agreement.correlation)
    purity = MEASURES.index("class_purity")
    assert unknown[purity].all()
    assert unknown[:, purity].all()
    assert unknown.sum() == 2 * len(MEASURES) - 1


def test_picture_of_the_agreement():
    found = profile_of()
    same = dataclasses.replace(found.measures, class_purity=np.full(12, 0.25))
    found = dataclasses.replace(found, layer="a_$x", measures=same)
    figure = A.plots.measure_agreement(found)
    axes, bar = figure.axes
    expected = A.measure_agreement(found).correlation
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, expected)
    assert axes.images[0].get_clim() == (-1, 1)
    texts = np.array([text.get_text() for text in axes.texts]).reshape(8, 8)
    assert texts[0, 0] == "1.00"
    assert texts[3, 0] == "–"
    numbers = [t.replace("−", "-").replace("–", "nan") for t in texts.ravel()]
    np.testing.assert_allclose(np.array(numbers, float), expected.ravel(), atol=0.00501)
    titles = [text.get_text() for text in axes.get_yticklabels()]
    assert titles == [text.get_text() for text in axes.get_xticklabels()]
    assert titles[:5] == [
        "tail of φ",
        "φ of own feature",
        "class selectivity",
        "class purity",
        "MonoScore",
    ]
    assert r"12 neurons of a_\$x" in axes.get_title()
    assert "rank correlation" in bar.get_ylabel()
    figure.canvas.draw()


def test_comparison_of_measures():
    profiles = {"a": {"units": profile_of(12)}, "b": {"units": profile_of(30, "tanh")}}
    rows = A.compare_measures(profiles)
    assert [row["measure"] for row in rows] == [m for m in MEASURES for _ in "ab"]
    values = {
        name: {"best_phi": p.scores.best_phi, **vars(p.measures)}
        for name, p in ((name, layers["units"]) for name, layers in profiles.items())
    }
    for base, other in zip(rows[::2], rows[1::2], strict=True):
        assert (base["model"], other["model"]) == ("a", "b")
        measure = base["measure"]
        for row in (base, other):
            mean = np.nanmean(values[row["model"]][measure])
            assert row["mean"] == pytest.approx(mean)
            permuted = profiles[row["model"]]["units"].permuted.get(measure)
            if permuted is None:
                assert row["permuted"] is None
            else:
                assert row["permuted"] == pytest.approx(np.nanmean(permuted))
        assert (base["change"], base["change_low"], base["change_high"]) == (None,) * 3
        assert other["change"] == pytest.approx(other["mean"] - base["mean"])
        ours, theirs = (v[measure][~np.isnan(v[measure])] for v in values.values())
        interval = stats.bootstrap(
            (theirs, ours),
            lambda x, y, axis: x.mean(axis) - y.mean(axis),
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(0),
        ).confidence_interval
        width = interval.high - interval.low
        assert other["change_low"] == pytest.approx(interval.low, abs=0.1 * width)
        assert other["change_high"] == pytest.approx(interval.high, abs=0.1 * width)


def test_errors():
    z, labels = labelled_data()
    without = A.profile(one_layer(), z, labels, ["units"], measures=False, verbose=0)
    found = A.profile(one_layer(), z, labels, ["units"], verbose=0)
    for call in (
        lambda: A.measure_agreement(without["units"]),
        lambda: A.plots.measure_agreement(without["units"]),
        lambda: A.compare_measures({"a": found, "b": without}),
    ):
        with pytest.raises(ValueError, match=r"layer 'units' must.*measures=True"):
            call()
    with pytest.raises(ValueError, match="at least two models"):
        A.compare_measures({"a": found})
    with pytest.raises(ValueError, match="`resamples` must be a positive integer"):
        A.compare_measures({"a": found, "b": found}, resamples=0)
    same = A.compare_measures({"a": found, "b": found}, resamples=10)
    assert [row["change"] for row in same[1::2]] == [0.0] * len(MEASURES)


def test_the_report_shows_each_neuron_beside_chance(tmp_path):
    z, labels = labelled_data()
    labels = np.where(labels == "fr", "<b>&", labels)
    models = {"plain": one_layer(3), "<i>": one_layer(6)}
    path = A.report(models, z, labels, ["units"], tmp_path / "a.html", verbose=0)
    text = path.read_text("utf-8")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;&amp;" in text
    for model in models.values():
        found = A.profile(model, z, labels, ["units"], verbose=0)["units"]
        for neuron in range(len(found.ks)):
            own = found.measures.class_selectivity[neuron]
            chance = found.permuted["class_selectivity"][neuron]
            assert re.search(rf">{neuron}</a></th>.*?{own:.2f} \({chance:.2f}\)", text)
        assert f">mean of {len(found.ks)}</th>" in text
    row = A.compare_measures(
        {
            name: A.profile(model, z, labels, ["units"], verbose=0)
            for name, model in models.items()
        }
    )[5]
    assert row["measure"] == "class_selectivity"
    cells = f"</td><td>{row['mean']:.4g}</td><td>{row['permuted']:.4g}</td>"
    assert f"<td>class_selectivity</td><td>&lt;i&gt;{cells}" in text
    assert text.count("Rank correlation of the measures") == 2
