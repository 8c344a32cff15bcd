"""Each measure against its definition by brute force, and on planted neurons."""

import itertools

import numpy as np
import pytest
from scipy import stats

import keras_mono as km
from support import planted

pytestmark = pytest.mark.one_backend


def selectivity(z, labels):
    means = [np.maximum(z[labels == f], 0).mean() for f in np.unique(labels)]
    largest = max(means)
    rest = (sum(means) - largest) / (len(means) - 1)
    return (largest - rest) / (largest + rest)


def purity(z, labels):
    active = labels[z > 0].tolist()
    return max(active.count(f) for f in set(active)) / len(active)


def mono_score(z, labels):
    a = (z - z.min()) / (z.max() - z.min())
    pairs = list(itertools.combinations(range(len(z)), 2))
    same = sum(a[i] * a[j] for i, j in pairs if labels[i] == labels[j])
    return same / sum(a[i] * a[j] for i, j in pairs)


def hoyer(z, _):
    root = np.sqrt(len(z))
    return (root - abs(z).sum() / np.sqrt((z**2).sum())) / (root - 1)


def treves_rolls(z, _):
    activity = (abs(z).sum() / len(z)) ** 2 / ((z**2).sum() / len(z))
    return (1 - activity) / (1 - 1 / len(z))


def normal_distance(z, _):
    """Against a fine grid of a normal's quantiles."""
    normal = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)
    return stats.wasserstein_distance((z - z.mean()) / z.std(), normal)


def phi_tail(z, _):
    phi = sorted((z - z.mean()) ** 2 / z.var(ddof=1), reverse=True)
    return np.mean(phi[: max(round(0.02 * len(z)), 1)])


BRUTE_FORCE = {
    "class_selectivity": selectivity,
    "class_purity": purity,
    "mono_score": mono_score,
    "hoyer": hoyer,
    "treves_rolls": treves_rolls,
    "wasserstein": normal_distance,
    "phi_tail": phi_tail,
}
NAMES = list(BRUTE_FORCE)


def activations(seed=0, inputs=60, neurons=5):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(inputs, neurons)) + np.linspace(-1, 1, neurons)
    z[:, 1] = np.maximum(z[:, 1], 0)
    z[:, 2] = 1000 + 0.01 * z[:, 2]
    return z, rng.integers(4, size=inputs)


@pytest.mark.parametrize("name", NAMES)
def test_equals_brute_force(name):
    z, labels = activations()
    found = getattr(km.analysis.measures(z, labels), name)
    expected = [BRUTE_FORCE[name](column, labels) for column in z.T]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_for_which_feature_selectivity_is_high():
    z, labels = activations()
    z[labels == 1, 0], z[labels == 3, 1] = 4.0, 4.0
    names = np.array(["d", "c", "b", "a"])[labels]  # of another order
    found = km.analysis.measures(z, names).selective_for
    means = [np.maximum(z[names == f], 0).mean(axis=0) for f in "abcd"]
    assert found.tolist() == [["a", "b", "c", "d"][i] for i in np.argmax(means, axis=0)]
    assert found[:2].tolist() == ["c", "a"]


def test_entries_that_are_not_finite_are_left_out():
    z, labels = activations()
    holes = z.copy()
    holes[::7, 0] = np.nan
    holes[3, 0] = np.inf
    kept = np.isfinite(holes[:, 0])
    found = km.analysis.measures(holes, labels)
    expected = km.analysis.measures(z[kept], labels[kept])
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(found, name)[0], getattr(expected, name)[0], rtol=1e-9
        )
        np.testing.assert_array_equal(
            getattr(found, name)[1], getattr(km.analysis.measures(z, labels), name)[1]
        )


def test_a_constant_neuron_has_no_measure():
    z, labels = activations()
    z[:, 0], z[:, 3], z[:, 4] = 0.1, 0.0, np.nan
    found = km.analysis.measures(z, labels)
    for name in NAMES:
        values = getattr(found, name)
        assert np.isnan(values[[0, 3, 4]]).all()
        assert np.isfinite(values[[1, 2]]).all()


def test_one_active_input_has_no_pair():
    z = np.zeros((20, 1))
    z[3] = 1.0
    labels = np.arange(20) % 2
    found = km.analysis.measures(z, labels)
    assert np.isnan(found.mono_score[0])
    assert found.class_purity[0] == found.hoyer[0] == found.treves_rolls[0] == 1.0


def test_planted_neurons_are_told_apart():
    z, labels = planted.by_distribution(20_000)
    found = km.analysis.measures(z, labels)
    chance = km.analysis.permuted_measures(z, labels)
    one, all_but_one, heavy, rectified = range(4)
    # φ's tail cannot tell the first two apart; the measures by feature can.
    assert found.class_selectivity[one] > 0.9
    assert (found.class_selectivity[[all_but_one, heavy, rectified]] < 0.15).all()
    assert found.mono_score[one] > 0.8
    assert (found.mono_score[[all_but_one, heavy, rectified]] < 0.12).all()
    assert found.class_purity[one] > 0.15  # half of the noise is above 0 too
    # Sparse in time, without a class: only the distribution tells.
    assert found.treves_rolls[one] > 0.8 > found.treves_rolls[rectified] > 0.3
    assert found.treves_rolls[all_but_one] < 0.2
    assert found.wasserstein[heavy] > 0.1
    # Nothing is left of the labels' part under permuted labels.
    for name, values in chance.items():
        real = getattr(found, name)
        assert abs(values[heavy] - real[heavy]) < 0.02
        assert values[one] < 0.5 * real[one] + 0.1


def test_a_normal_neuron_is_near_the_normal():
    z = np.random.default_rng(0).normal(5, 3, size=(50_000, 1))
    labels = np.arange(50_000) % 2
    assert km.analysis.measures(z, labels).wasserstein[0] < 0.02


def test_to_frame():
    frame = km.analysis.measures(*activations()).to_frame()
    assert list(frame.columns) == [NAMES[0], "selective_for", *NAMES[1:]]
    assert len(frame) == 5


def test_negative_activations_weigh_in_mono_score():
    """As the docs say: 1 on one of four classes, minus the size of noise elsewhere."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=4000)
    z = np.where(labels == 0, 1.0, -np.abs(rng.normal(size=4000)))[:, None]
    found = km.analysis.measures(z, labels)
    assert found.class_selectivity[0] == found.class_purity[0] == 1.0
    assert found.mono_score[0] == pytest.approx(0.27, abs=0.01)
    rectified = km.analysis.measures(np.maximum(z, 0), labels)
    assert rectified.mono_score[0] == pytest.approx(1.0)
