"""Neurons that are constant, seen once, or 0 almost everywhere."""

import numpy as np
import pytest

import keras_mono as km

pytestmark = pytest.mark.one_backend

A = km.analysis


@pytest.mark.parametrize("value", [0.1, 1e6 / 3, -1e-9 / 7])
def test_a_constant_that_is_not_exact_in_binary(value):
    z = np.random.default_rng(0).normal(size=(1000, 3))
    z[:, 1] = value
    labels = np.arange(1000) % 3
    scores = A.feature_scores(z, labels)
    assert np.isnan(scores.best_phi[1])
    assert scores.ranking()[-1] == 1
    assert np.isnan(A.ks_statistic(z, labels)[1])
    without = A.false_killing_rate(z[:, [0, 2]], labels, 0.1)
    np.testing.assert_allclose(A.false_killing_rate(z, labels, 0.1), without)
    assert A.summary(z[:, 1:2], 0.0)["top1"] == 0.0


def test_false_killing_never_selects_a_phi_of_0():
    z = np.zeros((100, 1))
    z[:2] = [[1.0], [-1.0]]  # the mean is 0: φ is 0 everywhere else
    labels = np.arange(100) % 2
    found = A.false_killing_rate(z, labels, 0.5)
    assert found.selected == 0.02


def test_a_neuron_seen_once_has_no_score():
    z = np.full((50, 2), np.nan)
    z[0, 0] = 5.0
    z[:, 1] = np.random.default_rng(0).normal(size=50)
    assert A.summary(z, 0.5)["top1"] == pytest.approx(A.summary(z[:, 1:], 0.5)["top1"])


def test_phi_of_a_constant_neuron_is_not_known():
    z = np.random.default_rng(0).normal(size=(1000, 3))
    z[:, 1], z[:, 2] = 0.1, 0.0
    scores = A.feature_scores(z, np.arange(1000) % 4)
    for phi in (scores.phi, scores.phi_of_others):
        assert np.isnan(phi[:, 1:]).all()
        assert np.isfinite(phi[:, 0]).all()
    frame = scores.to_frame().set_index("neuron")
    assert frame.loc[[1, 2], [f"phi {f}" for f in range(4)]].isna().all(axis=None)


def test_a_large_neuron_that_float32_cannot_tell_from_a_constant():
    """Its squared deviations are large, its φ is not known."""
    z = np.full((1000, 1), 1e9)
    z[::2] += 100.0
    scores = A.feature_scores(z, np.arange(1000) % 2)
    assert np.isnan(scores.best_phi[0])
    assert np.isnan(scores.phi).all()
    figure = A.plots.feature_heat_map(scores)
    assert "no neuron has a score" in figure.axes[0].texts[0].get_text()
