"""The pictures show the data that they are given, and the report holds them."""

import re

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted
from support.report_page import ReportPage

pytestmark = pytest.mark.one_backend

A, plots = km.analysis, km.analysis.plots


def model_of(units=4, seed=0):
    keras.utils.set_random_seed(seed)
    n = len(planted.TRUTH)
    return keras.Sequential(
        [
            keras.Input((n,)),
            keras.layers.Identity(name="neurons"),
            keras.layers.Dense(units, name="more"),
        ],
        name=f"with_{units}",
    )


@pytest.fixture(scope="module")
def data():
    z, labels = planted.activations()
    return z.astype("float32"), labels


@pytest.fixture(scope="module")
def profiles(data):
    return {
        f"{units} units": A.profile(
            model_of(units), *data, ["neurons", "more"], verbose=0
        )
        for units in (4, 9)
    }


def ticks(axes):
    return [text.get_text() for text in axes.get_xticklabels()]


def test_response_of_a_neuron(data):
    z, labels = data
    (axes,) = plots.neuron_response(z, labels, 0).axes
    assert ticks(axes) == list(planted.FEATURES)
    means = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    expected = [z[labels == f, 0].mean() for f in planted.FEATURES]
    np.testing.assert_allclose(means, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="between 0 and 6"):
        plots.neuron_response(z, labels, 7)


def test_ablation_by_feature():
    found = A.Ablation(
        np.array(["a", "b", "c"]),
        np.array([4, 7]),
        np.ones(3),
        np.arange(6.0).reshape(3, 2),
    )
    (axes,) = plots.ablation_by_feature(found).axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(np.transpose(heights), found.increase)
    assert ticks(axes) == ["a", "b", "c"]
    assert axes.get_xlabel() == "feature"
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "neuron 4",
        "neuron 7",
    ]


def test_heat_map(data):
    scores = A.feature_scores(*data)
    axes, _ = plots.feature_heat_map(scores, neurons=3).axes
    assert axes.get_xlabel() == "feature"
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(shown, scores.phi[:, scores.ranking()[:3]].T)
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [str(n) for n in scores.ranking()[:3]]
    (dots,) = axes.collections
    best = [planted.FEATURES[int(x)] for x, _ in dots.get_offsets()]
    assert best == scores.best_feature[scores.ranking()[:3]].tolist()


def test_false_killing_rate(profiles):
    curves = {name: layers["neurons"] for name, layers in profiles.items()}
    (axes,) = plots.fkr_by_fraction(curves).axes
    solid = [line for line in axes.lines if line.get_linestyle() != ":"]
    for line, found in zip(solid, curves.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * found.fkr.fraction)
        np.testing.assert_allclose(line.get_ydata(), 100 * found.fkr.rate)
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    for line, found in zip(dotted, curves.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * found.fkr.chance)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == [*curves, "chance"]


@pytest.mark.parametrize("which", ["phi", "ks"])
def test_layers(profiles, which):
    figure = getattr(plots, f"{which}_by_layer")(profiles)
    (axes,) = figure.axes
    assert ticks(axes) == ["neurons", "more"]
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 1.04 * axes.dataLim.y1  # no mark is cut off
    for bars, layers in zip(axes.containers, profiles.values(), strict=True):
        values = [
            p.scores.best_phi if which == "phi" else p.ks for p in layers.values()
        ]
        expected = [np.nanmean(v) for v in values]
        np.testing.assert_allclose(bars.lines[0].get_ydata(), expected)
        (quartiles,) = bars.lines[2]
        for segment, v, mean in zip(
            quartiles.get_segments(), values, expected, strict=True
        ):
            low, high = np.nanquantile(v, [0.25, 0.75])
            np.testing.assert_allclose(
                segment[:, 1], [min(low, mean), max(high, mean)], rtol=1e-6
            )


def test_names_that_matplotlib_would_read_or_hide(data, profiles):
    z, labels = data
    odd = np.array(["$\\frac$", "_hidden", "a" * 50, "d"])[
        np.unique(labels, return_inverse=True)[1]
    ]
    figure = plots.neuron_response(z, odd, 0, name="$x$ of _y")
    assert ticks(figure.axes[0]) == [r"\$\frac\$", " _hidden", "a" * 23 + "…", "d"]
    number = np.unique(labels, return_inverse=True)[1]
    odd = np.array(["", "a\n", "中" * 9, "é"])[number]
    axes = plots.feature_heat_map(A.feature_scores(z, odd)).axes[0]
    assert ticks(axes) == ['""', "a\\n", "é", "\\u4e2d" * 3 + "\\u4e2…"]
    assert figure.axes[0].get_title() == r"\$x\$ of _y"
    figure.canvas.draw()
    renamed = {"_first": profiles["4 units"], "$2": profiles["9 units"]}
    for draw in (plots.phi_by_layer, plots.ks_by_layer):
        texts = draw(renamed).axes[0].get_legend().get_texts()
        assert [t.get_text() for t in texts] == [" _first", r"\$2"]
    with pytest.raises(ValueError, match="at least one model"):
        plots.phi_by_layer({})


def test_layers_of_other_names_and_many_features(profiles):
    other = dict(zip(["a", "b"], profiles["9 units"].values(), strict=True))
    figure = plots.phi_by_layer({"one": profiles["4 units"], "two": other})
    assert ticks(figure.axes[0]) == ["neurons / a", "more / b"]
    z = np.random.default_rng(0).normal(size=(600, 2))
    figure = plots.neuron_response(z, np.arange(600) % 60, 0)
    assert figure.get_size_inches()[0] <= 13
    assert len(ticks(figure.axes[0])) == 60


@pytest.mark.parametrize("which", ["phi", "ks"])
def test_sizes(profiles, which):
    draw = getattr(plots, f"{which}_by_size")
    figure = draw(profiles, {"4 units": 1e4, "9 units": 3e4})
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    every, mean, marks = axes.lines[:2], axes.lines[2], axes.lines[3:]
    assert len(marks) == 2  # models
    values = np.array(
        [
            [
                np.nanmean(p.scores.best_phi if which == "phi" else p.ks)
                for p in layers.values()
            ]
            for layers in profiles.values()
        ]
    )
    for line, expected in zip(every, values.T, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [1e4, 3e4])
        np.testing.assert_allclose(line.get_ydata(), expected)
    np.testing.assert_allclose(mean.get_ydata(), values.mean(axis=1))
    for mark, x, y in zip(marks, [1e4, 3e4], values.mean(axis=1), strict=True):
        np.testing.assert_allclose((*mark.get_xdata(), *mark.get_ydata()), (x, y))
    same = draw(profiles, {"4 units": 1e4, "9 units": 1e4}).axes[0].lines
    np.testing.assert_allclose(same[2].get_ydata(), [values.mean()])
    assert same[3].get_xdata()[0] < 1e4 < same[4].get_xdata()[0]  # side by side
    with pytest.raises(ValueError, match=r"of every model.*no size of \['9 units'\]"):
        draw(profiles, {"4 units": 1e4})
    with pytest.raises(ValueError, match="above 0"):
        draw(profiles, {"4 units": 0, "9 units": 1})


def test_whiskers_and_boxes():
    """Percentiles as the text says."""
    z = np.random.default_rng(0).normal(size=(2000, 1)) ** 3
    labels = np.arange(2000) % 2
    (axes,) = plots.neuron_response(z, labels, 0).axes
    part = z[labels == 0, 0]
    whiskers = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 2]
    ends = {float(y) for ys in whiskers for y in ys}
    within = part[(part >= np.quantile(part, 0.01)) & (part <= np.quantile(part, 0.99))]
    assert {float(within.min()), float(within.max())} <= ends


def test_a_report_of_one_model(data, tmp_path):
    path = A.report(
        model_of(), *data, ["neurons"], tmp_path / "one.html", title="<mine>", verbose=0
    )
    text = path.read_text("utf-8")
    page = ReportPage(text)
    pictures = page.attributes["img"]
    assert len(pictures) == 3 + 1 + 1 + 3
    assert all(p["src"].startswith("data:image/png;base64,") for p in pictures)
    assert all(p["alt"] for p in pictures)
    assert "http:" not in text
    assert "&lt;mine&gt;" in text
    assert "The models side by side" not in text
    assert "700 inputs of 4 features" in text
    assert "All figures are from all of them." in text


def test_a_report_that_compares(data, tmp_path):
    models = {"small": model_of(4), "large": model_of(9)}
    layers = {"small": ["neurons", "more"], "large": ["neurons", "more"]}
    path = A.report(models, *data, layers, tmp_path / "two.html", verbose=0)
    text = path.read_text("utf-8")
    assert len(ReportPage(text).attributes["img"]) == 3 + 2 + 4 * (1 + 1 + 3)
    assert "small: 32 weights; large: 72 weights." in text
    assert "large, neurons: no clear difference (δ = +0.00)." in text
    assert re.search(r"<th scope=\"row\">large</th><td>more</td><td>9</td>", text)
    with pytest.raises(ValueError, match="layers of each model"):
        A.report(models, *data, {"small": ["more"]}, tmp_path / "no.html", verbose=0)
    assert not (tmp_path / "no.html").exists()
