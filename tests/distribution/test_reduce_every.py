"""`configure_replicas(model, reduce_every=n)`: reductions that wait."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mono as km

if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from keras_mono.torch import configure_replicas
from support import forks
from support.deferred_batches import DRIFT, EVERY, FRACTION, KINDS, RANKS, ROWS, hard

PROGRAM = Path(__file__).with_name("reduce_every.py")
LATER = [every for every in EVERY if every > 1]
STATISTICS = ["mean", "variance", "count", "max_batch_count", "step", "non_finite"]
FORGET = 10  # the default `forget_steps`


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of 2 processes found, by case."""
    return forks.results(PROGRAM, tmp_path_factory.mktemp("every"), RANKS)


@pytest.mark.support(
    "a reduction over the replicas at every n-th batch only", jax=None, tensorflow=None
)
@pytest.mark.parametrize("every", LATER)
@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_are_those_of_the_latest_reduction(found, name, every):
    each, some = found[0][f"{name} 1"], found[0][f"{name} {every}"]
    steps = len(list(hard()))
    for step in range(1, steps + 1):
        latest = step // every * every
        expected = each[latest - 1] if latest else np.zeros_like(each[0])
        # A variance comes from the squares around the running mean, of its size here.
        rtol = 1e-5 if name == "variance" else 2e-6
        np.testing.assert_allclose(some[step - 1], expected, rtol=rtol, atol=1e-6)
    assert each[-1].any()


@pytest.mark.parametrize("every", LATER)
def test_replicas_agree_to_the_bit(found, every):
    for name in [*STATISTICS, "selector_state"]:
        for other in found[1:]:
            key = f"{name} {every}"
            np.testing.assert_array_equal(other[key], found[0][key], err_msg=name)


@pytest.mark.parametrize("every", EVERY)
def test_every_batch_is_selected_from_by_the_latest_statistics(found, every):
    assert all(each[f"by the latest {every}"].all() for each in found)


# Of 20 steps, in one of which a threshold searches.
AT_ONCE = {"scale": 20, "top-k": 20, "penalty": 60, "threshold": 44}


@pytest.mark.parametrize("name", KINDS)
def test_messages(found, name):
    """A penalty's own two a step, for its gradient and its value, remain."""
    at_once = int(found[0][f"messages {name} 1"])
    own = 40 if name == "penalty" else 0
    assert at_once == AT_ONCE[name]
    for every in LATER:
        messages = int(found[0][f"messages {name} {every}"])
        if name == "threshold":  # as many searches
            assert messages == (at_once - 4) // every + 4
        else:
            assert messages == own + (at_once - own) // every


@pytest.mark.parametrize("every", LATER)
def test_the_error_on_drifting_data(found, every):
    """As in docs/distributed.md: s·δ, and around that the batches' noise."""
    rho = FORGET / (FORGET + 1)
    difference = found[0]["drift 1"] - found[0][f"drift {every}"]
    for late in range(every):
        at = [t for t in range(40, 120) if (t + 1) % every == late]
        of_these = difference[at]
        noise = np.sqrt(2 * (1 - rho**late) / (ROWS * (2 * FORGET + 1)))
        error = 4 * noise / np.sqrt(64)  # steps are not independent, neurons are
        assert abs(of_these.mean() - late * DRIFT) < error + 1e-6
        np.testing.assert_allclose(of_these.std(), noise, rtol=0.15, atol=1e-6)


@pytest.mark.parametrize("every", LATER)
def test_a_threshold_selects_its_fraction_of_all_batches(found, every):
    """With n = 2 every n-th batch alone is of one kind, and the share would be off."""
    shares = np.mean([each[f"shares {every}"] for each in found], axis=0)
    late = shares[400:]  # from an even step on
    assert np.mean(late) == pytest.approx(FRACTION, rel=0.1)
    assert late[1::2].mean() > 10 * late[::2].mean()
    moved_at = np.flatnonzero(np.diff(found[0][f"taus {every}"])) + 1
    assert len(moved_at) > len(shares) // every // 2
    assert set((moved_at + 1) % every) == {0}


def test_a_compiled_call(found):
    """A graph for each number of batches that wait."""
    for each in found:
        names = [name for name in each if name.startswith("compiled ")]
        assert len(names) == 14
        for name in names:
            expected = each[name.replace("compiled", "eager")]
            np.testing.assert_allclose(
                each[name], expected, rtol=1e-5, atol=1e-7, err_msg=name
            )
        assert each["compiled scale step"] == 6


def test_calibrate_counts_every_batch(found):
    for each in found:
        np.testing.assert_array_equal(each["calibrated"], [5, 5 * ROWS])


def test_what_waits_is_forgotten(found):
    for each in found:
        np.testing.assert_array_equal(each["cleared"], [0, 2])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2"])
def test_a_bad_reduce_every(wrong):
    with pytest.raises(
        ValueError, match="`reduce_every` must be a positive integer number of batches"
    ):
        configure_replicas(km.layers.MonosemanticScale(), reduce_every=wrong)


def test_a_layer_that_needs_each_batch_at_once():
    layer = km.layers.MonosemanticInhibition(include_current_batch=True)
    with pytest.raises(ValueError, match="include_current_batch=False"):
        configure_replicas(layer, reduce_every=2)
    assert layer.reduce_every == 1


def test_without_replicas_every_batch_counts_at_once():
    layer = km.layers.MonosemanticScale(axis=-1)
    configure_replicas(layer, reduce_every=4)
    layer(np.ones((3, 2), "float32"), training=True)
    assert int(layer.step) == 1
