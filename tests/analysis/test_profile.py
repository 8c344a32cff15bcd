"""Profiles of layers, streamed and sampled, and comparisons of models."""

import keras
import numpy as np
import pytest
from scipy import stats

import keras_mono as km
from keras_mono.analysis.profile import FRACTIONS
from keras_mono.analysis.sample import UniformSample
from support import planted

A = km.analysis


def model_of(units=None, seed=0, ours=False):
    """Its layer "neurons" passes the planted activations on; "more" mixes them."""
    keras.utils.set_random_seed(seed)
    n = len(planted.TRUTH)
    layers = [keras.Input((n,)), keras.layers.Identity(name="neurons")]
    if ours:
        layers.append(km.layers.MonosemanticInhibition(name="ours"))
    layers.append(keras.layers.Dense(units or 4, activation="relu", name="more"))
    return keras.Sequential(layers)


def profiles(model, layers=("neurons", "more"), **options):
    z, labels = planted.activations()
    return A.profile(model, z, labels, layers, verbose=0, **options)


@pytest.mark.parametrize("batch_size", [700, 64, 33])
def test_a_profile_is_what_the_functions_say_of_all_activations(batch_size):
    model = model_of(ours=True)
    z, labels = planted.activations()
    names = ["neurons", "ours", "more"]
    whole = A.activations(model, z, names)
    found = profiles(model, names, batch_size=batch_size)
    for name in names:
        one = found[name]
        assert (one.inputs, one.sampled, one.ks_error) == (700, 700, 0.0)
        scores = A.feature_scores(whole[name], labels)
        np.testing.assert_allclose(one.scores.phi, scores.phi, rtol=1e-6)
        np.testing.assert_array_equal(one.scores.best_feature, scores.best_feature)
        np.testing.assert_allclose(one.ks, A.ks_statistic(whole[name], labels))
        curve = A.false_killing_rate(whole[name], labels, FRACTIONS)
        np.testing.assert_allclose(one.fkr.rate, curve.rate)
        tail = A.summary(whole[name])
        assert one.tail == pytest.approx({key: tail[key] for key in one.tail})


@pytest.mark.one_backend
def test_the_tail_pools_positions_and_that_of_summary_does_not():
    z, labels = planted.activations()
    z = z[:, :6].reshape(-1, 3, 2)
    same = keras.layers.Identity(name="same")
    model = keras.Sequential([keras.Input((3, 2)), same])
    tail = A.profile(model, z, labels, ["same"], verbose=0)["same"].tail
    z = z.astype("float32")
    pooled, by_position = A.summary(z.reshape(-1, 2)), A.summary(z)
    assert tail == pytest.approx({key: pooled[key] for key in tail})
    assert all(by_position[key] != pytest.approx(tail[key], rel=0.05) for key in tail)


@pytest.mark.one_backend
def test_a_sample_stays_within_its_stated_error():
    whole = profiles(model_of())["more"]
    outside = []
    for seed in range(20):
        entries = 300 * whole.ks.size
        part = profiles(model_of(), sampled_entries=entries, seed=seed)["more"]
        assert part.sampled == 300
        assert part.inputs == 700
        assert 0 < part.ks_error < 0.5
        np.testing.assert_array_equal(part.scores.phi, whole.scores.phi)
        outside.append(np.abs(part.ks - whole.ks) > part.ks_error)
    assert np.mean(outside) <= 0.05


@pytest.mark.one_backend
def test_samples_are_uniform():
    counts = np.zeros(700)
    z = np.zeros((700, 7))
    z[:, 0] = np.arange(700)
    z[:, 1] = np.random.default_rng(0).normal(size=700)
    labels = np.arange(700) % 2
    for seed in range(200):
        sample = UniformSample(100, seed)
        for start in range(0, 700, 64):
            part = slice(start, start + 64)
            sample.add(z[part], labels[part], np.arange(700)[part])
        taken, _, units = sample.taken()
        np.testing.assert_array_equal(units, taken[:, 0])
        assert len(taken) == 100
        counts[taken[:, 0].astype(int)] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


def test_positions_take_their_sample_s_label_or_their_own():
    rng = np.random.default_rng(0)
    x = rng.integers(20, size=(40, 6))
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), keras.layers.Embedding(20, 5, name="e")]
    )
    z = A.activations(model, x, ["e"])["e"]
    for labels in (rng.integers(3, size=40), rng.integers(3, size=(40, 6))):
        found = A.profile(model, x, labels, ["e"], batch_size=16, verbose=0)["e"]
        assert found.inputs == 240
        expected = A.feature_scores(z, labels)
        np.testing.assert_allclose(found.scores.phi, expected.phi, rtol=1e-5)


@pytest.mark.one_backend
def test_a_progress_bar(capsys):
    z, labels = planted.activations()
    A.profile(model_of(), z, labels, ["neurons"], batch_size=100)
    assert "7/7" in capsys.readouterr().out
    A.profile(model_of(), z, labels, ["neurons"], verbose=0)
    assert capsys.readouterr().out == ""


@pytest.mark.one_backend
def test_comparison():
    z, labels = planted.activations()
    mixing = np.random.default_rng(1).normal(size=(7, 7))
    found = {
        "mono": {"a": profiles(model_of())["neurons"]},
        "mixed": {
            "b": A.profile(model_of(), z @ mixing, labels, ["neurons"], verbose=0)[
                "neurons"
            ]
        },
    }
    base, other = A.compare(found)
    assert base["effect"] is None
    assert (base["layer"], other["layer"]) == ("neurons", "neurons")
    these = found["mixed"]["b"].scores.best_phi
    those = found["mono"]["a"].scores.best_phi
    difference = np.sign(these[:, None] - those[None, :]).mean()
    np.testing.assert_allclose(other["effect"], difference)
    assert other["effect_low"] <= other["effect"] <= other["effect_high"]
    test = stats.mannwhitneyu(these, those)
    np.testing.assert_allclose(other["p_value"], test.pvalue)
    at = list(FRACTIONS).index(0.02)
    assert other["fkr"] == found["mixed"]["b"].fkr.rate[at]
    assert other["mean_phi"] == pytest.approx(these.mean())


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3), "one entry per sample, that is 700"),
        (np.zeros(700), "at least two features"),
        (np.arange(1400).reshape(700, 2) % 3, "per position that the layer sees"),
    ],
)
def test_bad_labels(labels, message):
    z, _ = planted.activations()
    with pytest.raises(ValueError, match=message):
        A.profile(model_of(), z, labels, ["neurons"], verbose=0)


@pytest.mark.one_backend
def test_bad_comparisons():
    found = profiles(model_of())
    with pytest.raises(ValueError, match="at least two models"):
        A.compare({"one": found})
    with pytest.raises(ValueError, match="same number"):
        A.compare({"one": found, "two": {"more": found["more"]}})
    with pytest.raises(ValueError, match="nowhere"):
        profiles(model_of(), ["nowhere"])
