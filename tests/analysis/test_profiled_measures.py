"""The measures of a profile: streamed as in memory, beside permuted labels."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted
from support.small import labelled_data, one_layer

A = km.analysis
BY_FEATURE = ("class_selectivity", "class_purity", "mono_score")


def assert_measured(found, z, labels, seed=0):
    """A profile has the measures of the activations, and those by permuted labels."""
    expected = A.measures(z, labels)
    for name, values in vars(expected).items():
        if name == "selective_for":
            np.testing.assert_array_equal(found.measures.selective_for, values)
            continue
        np.testing.assert_allclose(
            getattr(found.measures, name), values, rtol=1e-5, atol=1e-7, err_msg=name
        )
    assert list(found.permuted) == list(BY_FEATURE)
    for name, values in A.permuted_measures(z, labels, seed).items():
        np.testing.assert_allclose(
            found.permuted[name], values, rtol=1e-5, atol=1e-7, err_msg=name
        )


def mixed():
    """Its layer "neurons" passes the inputs on; "more" mixes them."""
    keras.utils.set_random_seed(0)
    n = len(planted.TRUTH)
    return keras.Sequential(
        [
            keras.Input((n,)),
            keras.layers.Identity(name="neurons"),
            keras.layers.Dense(6, activation="relu", name="more"),
        ]
    )


@pytest.mark.parametrize("batch_size", [700, 64, 33])
def test_streamed_as_in_memory(batch_size):
    z, labels = planted.activations()
    model, names = mixed(), ["neurons", "more"]
    whole = A.activations(model, z, names)
    found = A.profile(model, z, labels, names, batch_size=batch_size, seed=3, verbose=0)
    for name in names:
        assert_measured(found[name], whole[name], labels, seed=3)


@pytest.mark.one_backend
def test_all_inputs_also_where_only_some_are_kept():
    z, labels = planted.activations()
    model = mixed()
    part = A.profile(model, z, labels, ["more"], sampled_entries=6 * 300, verbose=0)[
        "more"
    ]
    whole = A.profile(model, z, labels, ["more"], verbose=0)["more"]
    assert part.sampled == 300
    for name in vars(whole.measures):
        one, other = (getattr(of.measures, name) for of in (part, whole))
        same = np.array_equal(one, other, equal_nan=name != "selective_for")
        assert same == (name not in ("wasserstein", "phi_tail")), name
    for name in BY_FEATURE:
        np.testing.assert_array_equal(part.permuted[name], whole.permuted[name])


@pytest.mark.one_backend
@pytest.mark.parametrize("features", [4, 300])
def test_few_and_many_features(features):
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(1200, 5)), rng.integers(features, size=1200)
    z[labels == 2, 1] += 3
    z[::7, 2] = np.nan
    model = keras.Sequential([keras.Input((5,)), keras.layers.Identity(name="same")])
    found = A.profile(model, z, labels, ["same"], batch_size=500, verbose=0)["same"]
    assert_measured(found, z.astype("float32"), labels)


def embedding():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), dtype="int32")
    hidden = keras.layers.Embedding(20, 5, mask_zero=True, name="e")(inputs)
    return keras.Model(inputs, hidden)


def padded():
    """Ids of texts of several lengths; 0 is padding."""
    rng = np.random.default_rng(0)
    x = rng.integers(1, 20, size=(50, 6))
    x[np.arange(6) >= rng.integers(1, 7, size=50)[:, None]] = 0
    return x, rng


def test_positions_and_padding():
    x, rng = padded()
    model = embedding()
    z = A.activations(model, x, ["e"], masked=np.nan)["e"]
    by_position = np.where(x > 0, rng.integers(1, 4, size=x.shape), 0)
    for labels in (rng.integers(3, size=50), by_position):
        found = A.profile(model, x, labels, ["e"], batch_size=16, verbose=0)["e"]
        there = np.isfinite(z[..., 0])
        of_inputs = np.broadcast_to(labels.reshape(50, -1), x.shape)[there]
        expected = A.measures(z[there], of_inputs)
        np.testing.assert_allclose(
            found.measures.class_selectivity, expected.class_selectivity, rtol=1e-5
        )
        assert_measured(found, z, labels)


@pytest.mark.one_backend
def test_permuted_labels_of_samples_stay_together():
    """By hand: all positions of a sample take the label of another sample."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(30, 4, 3)), rng.integers(3, size=30)
    moved = np.random.default_rng(7).permutation(labels)
    expected = A.measures(z, moved)
    for name, values in A.permuted_measures(z, labels, seed=7).items():
        np.testing.assert_allclose(values, getattr(expected, name))


@pytest.mark.one_backend
@pytest.mark.parametrize("positions", [False, True])
def test_labels_in_the_batches_and_steps(positions):
    if positions:
        x, rng = padded()
        labels, model, layer = rng.integers(3, size=50), embedding(), "e"
    else:
        x, labels = labelled_data()
        model, layer = one_layer(), "units"

    def batches():
        for start in range(0, len(x), 20):
            yield x[start : start + 20], labels[start : start + 20]

    whole = A.profile(model, x, labels, [layer], verbose=0)[layer]
    found = A.profile(model, batches(), None, [layer], verbose=0)[layer]
    for name in BY_FEATURE:
        np.testing.assert_allclose(found.permuted[name], whole.permuted[name], 1e-5)
    first = A.profile(model, batches(), labels, [layer], steps=2, verbose=0)[layer]
    alone = A.profile(model, x[:40], labels[:40], [layer], verbose=0)[layer]
    for name in BY_FEATURE:
        np.testing.assert_allclose(first.permuted[name], alone.permuted[name], 1e-5)


@pytest.mark.one_backend
def test_planted_neurons_are_told_apart():
    z, labels = planted.by_distribution(4000)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Identity(name="n")])
    found = A.profile(model, z, labels, ["n"], verbose=0)["n"]
    of, chance = found.measures, found.permuted
    one, all_but_one, heavy, rectified = range(4)
    others = [all_but_one, heavy, rectified]
    # The tail of φ ranks noise without a class above the neuron of one class.
    assert of.phi_tail[heavy] > of.phi_tail[rectified] > of.phi_tail[one]
    assert of.phi_tail[one] == pytest.approx(of.phi_tail[all_but_one], rel=0.15)
    # The measures by feature tell the neuron of one class, and chance says so.
    assert of.class_selectivity[one] > 0.9
    assert (of.class_selectivity[others] < 0.2).all()
    assert of.mono_score[one] > 0.8
    assert (of.mono_score[others] < 0.13).all()
    for name in BY_FEATURE:
        real, shuffled = getattr(of, name), chance[name]
        assert real[one] > 1.5 * shuffled[one]
        np.testing.assert_allclose(
            shuffled[[heavy, rectified]], real[[heavy, rectified]], atol=0.05
        )
    # Sparse and silent on one class: only the sparseness tells them apart.
    assert of.treves_rolls[one] > 0.8
    assert of.treves_rolls[all_but_one] < 0.2
    assert of.wasserstein[[one, all_but_one]].min() > of.wasserstein[heavy] > 0.1


@pytest.mark.one_backend
def test_chance_of_a_neuron_without_a_class():
    z = np.abs(np.random.default_rng(0).normal(size=(6000, 3)))
    labels = np.repeat(np.arange(4), 1500)  # in order: a batch has one or two of them
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity(name="n")])
    found = A.profile(model, z, labels, ["n"], batch_size=100, verbose=0)["n"]
    assert (found.permuted["class_selectivity"] < 0.03).all()
    np.testing.assert_allclose(found.permuted["class_purity"], 0.25, atol=0.01)
    np.testing.assert_allclose(found.permuted["mono_score"], 0.25, atol=0.01)
    z[labels == 1, 0] += 5  # and of one with a class
    found = A.profile(model, z, labels, ["n"], batch_size=100, verbose=0)["n"]
    assert found.measures.class_selectivity[0] > 0.7
    assert found.permuted["class_selectivity"][0] < 0.1


@pytest.mark.one_backend
def test_left_out():
    z, labels = labelled_data()
    without = A.profile(one_layer(), z, labels, ["units"], measures=False, verbose=0)
    found = A.profile(one_layer(), z, labels, ["units"], verbose=0)["units"]
    assert without["units"].measures is None
    assert without["units"].permuted == {}
    np.testing.assert_array_equal(without["units"].ks, found.ks)
    columns = ["neuron", "best_feature", "best_phi", "ks"]
    assert list(without["units"].to_frame()) == columns


@pytest.mark.one_backend
def test_to_frame():
    z, labels = labelled_data()
    found = A.profile(one_layer(), z, labels, ["units"], verbose=0)["units"]
    frame = found.to_frame()
    assert list(frame.columns) == [
        "neuron",
        "best_feature",
        "best_phi",
        "ks",
        "class_selectivity",
        "class_selectivity_permuted",
        "selective_for",
        "class_purity",
        "class_purity_permuted",
        "mono_score",
        "mono_score_permuted",
        "hoyer",
        "treves_rolls",
        "wasserstein",
        "phi_tail",
    ]
    assert frame.neuron.tolist() == found.scores.ranking().tolist()
    for name in ("hoyer", "mono_score"):
        expected = getattr(found.measures, name)[frame.neuron]
        np.testing.assert_array_equal(frame[name], expected)
    shuffled = found.permuted["mono_score"][frame.neuron]
    np.testing.assert_array_equal(frame.mono_score_permuted, shuffled)
