"""Features of few inputs: in probes, samples, pictures and reports."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain, labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


def test_a_rare_feature_that_would_not_be_judged():
    z = np.random.default_rng(0).normal(size=(3000, 2))
    labels = (np.arange(3000) < 2) * 1
    with pytest.raises(ValueError, match=r"both hold every feature.*hold out more"):
        A.probe(z, labels, held_out=0.1)


def test_chance_of_a_probe_is_of_what_was_held_out():
    z, labels = labelled_data(91)
    found = A.probe(z, labels, held_out=0.5)
    shares = np.array([15, 15, 16]) / 46
    np.testing.assert_allclose(np.sort(found.chance), 2 * shares / (1 + shares))


def test_a_sample_that_is_too_small():
    z, labels = labelled_data(300)
    with pytest.raises(ValueError, match="at least 90 for layer 'units'"):
        A.profile(one_layer(), z, labels, ["units"], sampled_entries=10, verbose=0)


def test_the_error_of_a_sampled_ks_is_the_rarest_features():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 5))
    labels = (np.arange(4000) % 10 == 0) * 1
    model = one_layer()
    found = A.profile(model, z, labels, ["units"], sampled_entries=3000, verbose=0)
    found = found["units"]
    assert found.sampled == 1000
    rare = 1000 / 10  # of the sample, about
    expected = np.sqrt(np.log(40) / 2) * (1 / np.sqrt(rare) + 1 / np.sqrt(1000))
    assert found.ks_error == pytest.approx(expected, rel=0.15)
    whole = A.profile(model, z, labels, ["units"], verbose=0)["units"]
    assert np.abs(found.ks - whole.ks).max() < found.ks_error


def test_a_rare_feature_is_in_the_pictures():
    from keras_mono.analysis.report import some_of_each_feature

    labels = np.zeros(20_000, int)
    labels[7] = 1
    few = some_of_each_feature(labels)
    assert 7 in few
    assert 2_000 < len(few) < 6_000
    by_position = np.zeros((20_000, 4), int)
    by_position[9, 2] = 1
    assert 9 in some_of_each_feature(by_position)


def test_a_report_with_two_features_of_which_one_is_rare(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(9000, 5)).astype("float32")
    labels = (np.arange(9000) == 3) * 1
    A.report(one_layer(), z, labels, ["units"], tmp_path / "a.html", verbose=0)
    assert (tmp_path / "a.html").exists()


def rare_in_a_sample(features):
    """20,000 inputs of three neurons; features beyond 0 and 1 have one input each."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(20_000, 3)), np.arange(20_000) % 2
    labels[: features - 2] = np.arange(2, features)
    z[0, 0] += 100  # the neuron of feature 2
    z[labels == 1, 1] *= 3
    return z.astype("float32"), labels


def same(units):
    return chain((units,), keras.layers.Identity(name="same"))


def test_a_feature_that_is_not_in_the_sample():
    """A neuron of it has no K-S, and counts in no false killing rate."""
    z, labels = rare_in_a_sample(3)
    options = {"sampled_entries": 3 * 1000, "seed": 1, "verbose": 0}
    found = A.profile(same(3), z, labels, ["same"], **options)["same"]
    assert found.scores.best_feature[0] == 2
    assert np.isnan(found.ks).tolist() == [True, False, False]
    without = A.profile(
        same(2), z[:, 1:], labels, ["same"], **options | {"sampled_entries": 2 * 1000}
    )["same"]
    np.testing.assert_array_equal(found.fkr.rate, without.fkr.rate)
    np.testing.assert_array_equal(found.fkr.chance, without.fkr.chance)


def test_a_sample_of_one_feature_alone():
    z = np.random.default_rng(0).normal(size=(20_000, 3)).astype("float32")
    labels = (np.arange(20_000) == 5) * 1
    options = {"sampled_entries": 3000, "seed": 1, "verbose": 0}
    message = (
        r"`sampled_entries` must be so large.*'same'. Received: 3000, with which all "
        r"1000 are of \[0\]. Pass 60000 to take all"
    )
    with pytest.raises(ValueError, match=message):
        A.profile(same(3), z, labels, ["same"], **options)
    found = A.profile(same(3), z, labels, ["same"], sampled_entries=60_000, verbose=0)
    assert found["same"].sampled == 20_000
