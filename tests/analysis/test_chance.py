"""Chance: what the measures give for labels that are dealt anew to the samples."""

import keras
import numpy as np
import pytest

import keras_mono as km
from keras_mono.analysis.dealt_labels import dealt
from support.small import chain

pytestmark = pytest.mark.one_backend

A = km.analysis
LENGTH, NEURONS = 18, 200


class Passes(keras.layers.Layer):
    """Gives its inputs, of which a mask says which are padding."""

    def call(self, x, padding_mask=None):  # noqa: ARG002
        return x * 1.0


def profiled(z, there, labels):
    """The profile of activations, of which `there` says which are no padding."""
    inputs = keras.Input(z.shape[1:])
    mask = keras.Input(there.shape[1:], name="padding_mask", dtype="bool")
    model = keras.Model([inputs, mask], Passes(name="z")(inputs, padding_mask=mask))
    return A.profile(model, [z, there], labels, ["z"], batch_size=64, verbose=0)["z"]


def samples_of_lengths(labels, lengths, seed=0):
    """Rectified noise, and which of its positions are no padding."""
    rng = np.random.default_rng(seed)
    z = np.maximum(rng.normal(size=(len(labels), LENGTH, NEURONS)), 0)
    return z.astype("float32"), np.arange(LENGTH) < lengths[:, None]


def short_and_long():
    """Labels 0 of short samples and 1 of long ones."""
    labels = np.random.default_rng(1).integers(2, size=600)
    return labels, np.where(labels == 0, 2, LENGTH)


def chances(z, there, labels):
    """Of a profile, and of the function on arrays."""
    in_memory = A.permuted_measures(np.where(there[..., None], z, np.nan), labels)
    return [profiled(z, there, labels).permuted, in_memory]


def test_samples_of_one_label_are_longer():
    labels, lengths = short_and_long()
    z, there = samples_of_lengths(labels, lengths)
    shares = np.bincount(labels, weights=lengths) / lengths.sum()
    measured = vars(profiled(z, there, labels).measures)
    for chance in chances(z, there, labels):
        mono_score, purity = (chance[n].mean() for n in ("mono_score", "class_purity"))
        assert mono_score == pytest.approx((shares**2).sum(), abs=0.01)
        assert purity == pytest.approx(shares.max(), abs=0.01)
        # Without a class chance is all there is. Both have a standard error of 5 %.
        for name, values in chance.items():
            mean = measured[name].mean()
            assert values.mean() == pytest.approx(mean, rel=0.2), name


def test_a_neuron_of_the_shorter_label_is_far_above_chance():
    labels, lengths = short_and_long()
    z, there = samples_of_lengths(labels, lengths)
    z[:, :, 0] = np.where(labels == 0, 1 + z[:, :, 1].T, 0.1 * z[:, :, 1].T).T
    found = profiled(z, there, labels)
    assert found.measures.class_selectivity[0] > 0.9
    assert found.permuted["class_selectivity"][0] < 0.2


def test_samples_stay_together():
    """Of neurons that are the same at all positions of a sample, chance is higher."""
    rng = np.random.default_rng(0)
    labels, lengths = rng.integers(3, size=300), rng.integers(1, LENGTH + 1, size=300)
    z, there = samples_of_lengths(labels, lengths)
    z = np.repeat(z[:, :1], LENGTH, axis=1)
    expected = []
    for _ in range(50):  # selectivity from means over positions, samples permuted
        moved = rng.permutation(labels)
        means = [
            lengths[moved == f] @ z[moved == f, 0] / lengths[moved == f].sum()
            for f in range(3)
        ]
        largest, rest = np.max(means, axis=0), (np.sum(means, 0) - np.max(means, 0)) / 2
        expected.append(((largest - rest) / (largest + rest)).mean())
    for chance in chances(z, there, labels):
        found = chance["class_selectivity"].mean()
        assert found == pytest.approx(np.mean(expected), rel=0.1)


@pytest.mark.parametrize("kind", ["padding", "not finite"])
def test_samples_without_any_input_take_no_part(kind):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    empty = np.arange(400) % 2 == 0
    labels[empty] = 2  # a label of empty samples alone
    z, there = samples_of_lengths(labels, np.full(400, 3))
    if kind == "padding":
        there[empty] = False
    else:
        z[empty] = np.nan
    expected = A.permuted_measures(z[~empty, :3], labels[~empty])
    shares = np.bincount(labels[~empty]) / 200
    for chance in chances(z, there, labels):
        for name, values in expected.items():
            np.testing.assert_allclose(chance[name], values, rtol=1e-5, err_msg=name)
        mono_score = chance["mono_score"].mean()
        assert mono_score == pytest.approx((shares**2).sum(), abs=0.01)


def test_a_neuron_that_is_not_finite_on_one_label():
    """Its chance is that of the labels it has."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(3000, 3)), rng.integers(3, size=3000)
    z[labels == 2, 0] = np.nan
    model = chain((3,), keras.layers.Identity(name="z"))
    found = A.profile(model, z, labels, ["z"], verbose=0)["z"].permuted
    for chance in (found, A.permuted_measures(z, labels)):
        np.testing.assert_allclose(chance["mono_score"], [1 / 2, 1 / 3, 1 / 3], 0.02)
        np.testing.assert_allclose(chance["class_purity"], [0.51, 0.34, 0.34], 0.05)


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_dealt_by_positions(seed):
    rng = np.random.default_rng(seed)
    labels = np.append(rng.choice([3, 5, 9], size=200, p=[0.7, 0.2, 0.1]), 7)
    positions = np.append(rng.integers(1, 30, size=200), 1)  # 7 has one position
    found = dealt(labels, positions, seed)
    for label in (3, 5, 9):
        wanted = positions[labels == label].sum()
        assert abs(positions[found == label].sum() - wanted) < 60  # two samples
    assert (found == 7).sum() == 1
    again = np.random.default_rng(seed).permutation(labels)
    np.testing.assert_array_equal(dealt(labels, np.full(201, 4), seed), again)
    assert sorted(dealt(np.array([1, 2]), np.array([5, 1]), seed)) == [1, 2]
