import numpy as np
import pytest

import keras_mono as km

pytestmark = pytest.mark.one_backend


def test_by_hand():
    # One neuron: mean 0, unbiased variance 1; φ = z² without compensation.
    z = np.array([[-1.0], [-1.0], [1.0], [1.0]]) * np.sqrt(3 / 4)
    figures = km.analysis.summary(z, variance_compensation=0.0)
    assert figures["top1"] == pytest.approx(0.75)
    assert figures["kurtosis"] == pytest.approx(0.75**2)
    assert figures["tail"] == pytest.approx(0.75)
    assert figures["threshold"] == pytest.approx(0.75)


def test_known_distributions():
    rng = np.random.default_rng(0)
    normal = km.analysis.summary(rng.normal(size=(20_000, 10)), 0.0)
    # φ of a normal neuron is χ² with one degree of freedom.
    assert normal["kurtosis"] == pytest.approx(3, rel=0.03)
    assert normal["threshold"] == pytest.approx(5.412, rel=0.02)
    # 1 + t·p(t)/0.01 with t = 2.326, beyond which 1 % lies on each side, p its density.
    assert normal["tail"] == pytest.approx(7.20, rel=0.02)
    rare = (rng.random((20_000, 10)) < 0.01).astype(float)
    # A neuron that fires for a share p has kurtosis 1/p + 1/(1-p) - 3.
    assert km.analysis.summary(rare, 0.0)["kurtosis"] == pytest.approx(98, rel=0.1)


def test_positions_are_neurons_and_top1_is_a_sample_s():
    z = np.random.default_rng(1).normal(size=(50, 3, 4))
    assert km.analysis.summary(z) == km.analysis.summary(z.reshape(50, 12))


def test_non_finite_entries_are_left_out():
    z = np.random.default_rng(2).normal(size=(50, 4))
    spoiled = np.vstack([z, np.full((1, 4), np.nan), np.full((1, 4), np.inf)])
    assert km.analysis.summary(spoiled) == pytest.approx(km.analysis.summary(z))


def test_constant_neurons_score_nothing():
    figures = km.analysis.summary(np.ones((10, 3)))
    of_phi = {
        name: figures.pop(name) for name in ("top1", "threshold", "tail", "kurtosis")
    }
    assert set(of_phi.values()) == {0.0}
    assert all(map(np.isnan, figures.values()))


def test_measures_without_labels_are_means_over_neurons_that_change():
    z = np.maximum(np.random.default_rng(3).normal(size=(200, 3, 2)), 0)
    z[:, 0, 1] = 5.0
    figures = km.analysis.summary(z)
    each = km.analysis.measures(z.reshape(200, 6), np.arange(200) % 2)
    for name in ("hoyer", "treves_rolls", "wasserstein"):
        assert figures[name] == pytest.approx(np.nanmean(getattr(each, name)))


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (10, 0), (10,)])
def test_too_little_to_summarize(shape):
    with pytest.raises(ValueError, match="at least two samples of at least one neuron"):
        km.analysis.summary(np.ones(shape))
