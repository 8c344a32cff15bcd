"""Scores, K-S, FKR and probes by labelled feature, against brute force and truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

import keras_mono as km
from support import planted

pytestmark = pytest.mark.one_backend

A = km.analysis


def ragged(seed=0):
    """Activations with ties, NaN and infinity, of three unbalanced features."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([3, 7, 9], p=[0.7, 0.2, 0.1], size=120)
    z = np.round(rng.standard_t(3, size=(120, 5)), 1)
    z[rng.random(z.shape) < 0.05] = np.nan
    z[4, 1] = np.inf
    return z, labels


def brute_phi(z):
    z = np.where(np.isfinite(z), z, np.nan)
    return (z - np.nanmean(z, 0)) ** 2 / np.nanvar(z, 0, ddof=1)


def brute_best(z, labels):
    phi = brute_phi(z)
    features = np.unique(labels)
    means = np.array([np.nanmean(phi[labels == f], 0) for f in features])
    return features[means.argmax(0)], means


def test_scores_equal_their_definition():
    z, labels = ragged()
    scores = A.feature_scores(z, labels)
    best, means = brute_best(z, labels)
    np.testing.assert_array_equal(scores.features, [3, 7, 9])
    np.testing.assert_allclose(scores.phi, means, rtol=1e-12)
    np.testing.assert_array_equal(scores.best_feature, best)
    np.testing.assert_allclose(scores.best_phi, means.max(0), rtol=1e-12)
    phi = brute_phi(z)
    for number, feature in enumerate(scores.features):
        others = np.nanmean(phi[labels != feature], 0)
        np.testing.assert_allclose(scores.phi_of_others[number], others, rtol=1e-12)


@pytest.mark.parametrize("cuts", [[60], [1, 2, 50], [0, 119]])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_batches_tell_the_same_as_the_whole(cuts, offset):
    z, labels = ragged()
    z = z + offset
    statistics = A.FeatureStatistics(z.shape[1])
    for part, names in zip(np.split(z, cuts), np.split(labels, cuts), strict=True):
        statistics.add(part, names)
    streamed, whole = statistics.scores(), A.feature_scores(z, labels)
    np.testing.assert_allclose(streamed.phi, whole.phi, rtol=1e-7)
    np.testing.assert_array_equal(streamed.best_feature, whole.best_feature)


def test_positions_are_inputs_and_a_sample_s_label_holds_for_all_of_them():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(30, 4, 3)), rng.integers(2, size=30)
    flat, repeated = z.reshape(-1, 3), np.repeat(labels, 4)
    np.testing.assert_array_equal(
        A.feature_scores(z, labels).phi, A.feature_scores(flat, repeated).phi
    )
    by_position = rng.integers(2, size=(30, 4))
    np.testing.assert_array_equal(
        A.feature_scores(z, by_position).phi,
        A.feature_scores(flat, by_position.reshape(-1)).phi,
    )


def test_ks_equals_scipy():
    z, labels = ragged()
    best, _ = brute_best(z, labels)
    found = A.ks_statistic(z, labels)
    for neuron, feature in enumerate(best):
        phi = brute_phi(z)[:, neuron]
        own = phi[(labels == feature) & ~np.isnan(phi)]
        expected = stats.ks_2samp(own, phi[~np.isnan(phi)]).statistic
        np.testing.assert_allclose(found[neuron], expected, rtol=1e-12)


@pytest.mark.parametrize("fraction", [0.005, 0.02, 0.3, 0.99])
def test_false_killing_rate_equals_brute_force(fraction):
    z, labels = ragged()
    best, _ = brute_best(z, labels)
    pairs = [
        (value, labels[i] != best[j])
        for (i, j), value in np.ndenumerate(brute_phi(z))
        if not np.isnan(value)
    ]
    pairs.sort(key=lambda pair: -pair[0])
    level = pairs[max(round(fraction * len(pairs)), 1) - 1][0]
    selected = [falsely for value, falsely in pairs if value >= level]
    found = A.false_killing_rate(z, labels, fraction)
    np.testing.assert_allclose(found.rate, np.mean(selected))
    np.testing.assert_allclose(found.selected, len(selected) / len(pairs))
    np.testing.assert_allclose(found.chance, np.mean([pair[1] for pair in pairs]))


def test_false_killing_rate_by_fraction():
    z, labels = planted.activations()
    fractions = [0.001, 0.02, 0.5]
    curve = A.false_killing_rate(z, labels, fractions)
    single = [A.false_killing_rate(z, labels, f).rate for f in fractions]
    np.testing.assert_array_equal(curve.rate, single)
    assert curve.rate[0] < curve.rate[2] < curve.chance[2] + 0.1


def test_planted_truth_is_ranked_without_an_error():
    z, labels = planted.activations()
    scores = A.feature_scores(z, labels)
    for neuron, features in planted.TRUTH.items():
        if len(features) == 1:
            assert scores.best_feature[neuron] == features[0]
    # The rarer the inputs that a neuron answers to, the higher its φ.
    assert scores.ranking()[:4].tolist() == [0, 1, 3, 2]
    active = {n for n, f in planted.TRUTH.items() if 0 < len(f) < 4}
    assert set(scores.ranking()[:5].tolist()) == active
    mono = [n for n, f in planted.TRUTH.items() if len(f) == 1]
    killed = A.ks_statistic(z, labels)
    assert min(killed[mono]) > max(killed[[5, 6]])


def test_a_probe_finds_the_planted_neurons():
    z, labels = planted.activations()
    found = A.probe(z, labels)
    for number, feature in enumerate(found.features):
        tells = [n for n, f in planted.TRUTH.items() if f == (feature,)]
        if tells:
            assert found.top(1)[number, 0] == tells[0]
            assert found.f1[number, tells[0]] == 1.0
    # ada has no neuron of its own, but is where neuron 4 is silent.
    assert found.top(1)[0, 0] == 4
    assert found.sign[0, 4] == -1
    noise = found.f1[:, 5]
    np.testing.assert_allclose(noise, found.chance, atol=0.08)


def test_a_feature_that_is_absent_from_the_inputs():
    """Its neuron is noise then, and all others keep their ranks."""
    z, labels = planted.activations()
    here = labels != "perl"
    z, labels = z[here], labels[here]
    scores = A.feature_scores(z, labels)
    assert scores.features.tolist() == ["ada", "c", "lisp"]
    # Of the neurons for lisp, 1 and 3, both answer to nothing else now.
    assert set(scores.ranking()[:2].tolist()) == {1, 3}
    assert scores.ranking()[2] == 2
    assert scores.best_phi[0] < 1.3
    probe = A.probe(z, labels)
    assert {int(n) for n in probe.top(2)[2]} == {1, 3}
    assert probe.top(1)[1, 0] == 2
    np.testing.assert_allclose(probe.f1[:, 0], probe.chance, atol=0.08)


def test_a_probe_s_f1_is_scikit_learn_s():
    z, labels = ragged()
    found = A.probe(z, labels, held_out=0.5, seed=3)
    from sklearn.model_selection import train_test_split

    numbers = np.searchsorted(found.features, labels)
    _, test = train_test_split(
        np.arange(len(z)), test_size=0.5, random_state=3, stratify=numbers
    )
    for number, feature in enumerate(found.features):
        for neuron in range(z.shape[1]):
            sign = found.sign[number, neuron]
            beyond = z[test, neuron] * sign >= found.threshold[number, neuron] * sign
            beyond &= np.isfinite(z[test, neuron])
            expected = f1_score(labels[test] == feature, beyond, zero_division=0)
            np.testing.assert_allclose(found.f1[number, neuron], expected)


def test_no_rule_is_better_on_the_training_part():
    z, labels = ragged()
    z, labels = z[:, :1], labels
    found = A.probe(z, labels, held_out=0.5)
    from sklearn.model_selection import train_test_split

    numbers = np.searchsorted(found.features, labels)
    train, _ = train_test_split(
        np.arange(len(z)), test_size=0.5, random_state=0, stratify=numbers
    )
    values = z[train, 0]
    for number, feature in enumerate(found.features):
        truth = labels[train] == feature

        def f1(threshold, sign, truth=truth):
            beyond = np.isfinite(values) & (values * sign >= threshold * sign)
            return f1_score(truth, beyond, zero_division=0)

        rules = [(t, s) for t in values[np.isfinite(values)] for s in (1, -1)]
        chosen = f1(found.threshold[number, 0], found.sign[number, 0])
        np.testing.assert_allclose(chosen, max(f1(*rule) for rule in rules))


def test_a_constant_neuron_has_no_score():
    z, labels = planted.activations()
    z[:, 2] = 7.0
    scores = A.feature_scores(z, labels)
    assert np.isnan(scores.best_phi[2])
    assert scores.ranking()[-1] == 2
    assert np.isnan(A.ks_statistic(z, labels)[2])
    without = np.delete(z, 2, axis=1)
    assert A.false_killing_rate(z, labels) == A.false_killing_rate(without, labels)


def test_frames():
    z, labels = planted.activations()
    frame = A.feature_scores(z, labels).to_frame()
    assert frame["neuron"].tolist()[:4] == [0, 1, 3, 2]
    assert list(frame.columns[:3]) == ["neuron", "best_feature", "best_phi"]
    frame = A.probe(z, labels).to_frame(2)
    assert len(frame) == 8
    assert frame.query("feature == 'perl' and rank == 1")["neuron"].item() == 0


ANALYSES = [A.feature_scores, A.ks_statistic, A.false_killing_rate, A.probe]


@pytest.mark.parametrize("analysis", ANALYSES)
@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.ones((4, 2)), [1, 2, 3], "one entry per sample.*Received: shape"),
        (np.ones((4, 2)), 1, "one entry per sample"),
        (np.ones((4, 2)), ["a"] * 4, "at least two.*only"),
        (np.ones((4, 2)), [1.0, np.nan, 2.0, 1.0], "Received: 1 missing"),
        (np.ones(4), [1, 1, 2, 2], "Received: shape"),
        (np.ones((0, 2)), [], "at least two"),
    ],
)
def test_bad_input(analysis, z, labels, message):
    with pytest.raises(ValueError, match=message):
        analysis(z, labels)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, np.nan])
def test_bad_fraction(fraction):
    z, labels = ragged()
    with pytest.raises(ValueError, match="between 0 and 1"):
        A.false_killing_rate(z, labels, fraction)


def test_a_feature_with_one_input_cannot_be_probed():
    z, labels = ragged()
    labels[:] = 3
    labels[5] = 7
    with pytest.raises(ValueError, match="every feature"):
        A.probe(z, labels)
