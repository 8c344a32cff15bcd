"""The arithmetic of the moving threshold, step by step."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from keras_mono.backend import ThresholdState
from support import streams
from support.compiled import compiled
from support.small import mostly_one_backend
from support.threshold_oracle import ThresholdOracle
from support.training import numbers


def follower(fraction):
    """A function from φ and how many count to what is selected; keeps the state."""
    selector = km.selectors.MovingThreshold(fraction)
    step = compiled(lambda phi, counted, state: selector.update(phi, counted, state))
    kept = {"state": keras.ops.zeros(len(selector.state_names))}

    def follow(phi, counted=None):
        counted = np.float32(phi.size if counted is None else counted)
        phi = keras.ops.convert_to_tensor(phi)
        counted = keras.ops.convert_to_tensor(counted)
        selected, kept["state"] = step(phi, counted, kept["state"])
        return numbers(selected)

    follow.state = lambda: ThresholdState(*numbers(kept["state"]).tolist())
    return follow


@pytest.mark.parametrize("stream", streams.ALL)
@pytest.mark.parametrize("fraction", [0.01, 0.2])
def test_equals_the_oracle(stream, fraction):
    follow, oracle = follower(fraction), ThresholdOracle(fraction)
    for step, phi in enumerate(streams.drawn(stream, 1, 80, 20, 30)):
        selected = follow(phi)
        np.testing.assert_array_equal(selected, oracle.follow(phi), str(step))
        np.testing.assert_allclose(
            follow.state().selected_fraction, selected.mean(), rtol=1e-6
        )
        np.testing.assert_allclose(follow.state().threshold, oracle.threshold, 1e-4)
    assert follow.state().num_batches == oracle.number
    np.testing.assert_allclose(follow.state().error, oracle.error, atol=1e-3)
    np.testing.assert_allclose(follow.state().noise, oracle.noise, 1e-3)
    np.testing.assert_allclose(follow.state().share_above, oracle.above, atol=1e-3)
    assert bool(follow.state().has_ties) == oracle.ties


@given(st.floats(0.001, 0.9), st.integers(1, 400), st.integers(0, 1000))
def test_the_first_batch_loses_its_own_largest(fraction, size, seed):
    phi = streams.drawn("normal", seed, size)
    selected = eager_first(phi, fraction)
    assert selected.sum() == max(round(np.float32(fraction * size)), 1)
    assert phi[selected].min() >= phi[~selected].max(initial=0.0)


def eager_first(phi, fraction):
    selector = km.selectors.MovingThreshold(fraction)
    state = keras.ops.zeros(len(selector.state_names))
    phi = keras.ops.convert_to_tensor(phi)
    return numbers(
        selector.update(
            phi, keras.ops.convert_to_tensor(np.float32(phi.shape[0])), state
        )[0]
    )


def test_a_batch_without_outliers_loses_less():
    follow = follower(0.02)
    for phi in streams.drawn("normal", 0, 60, 2000):
        follow(phi)
    calm = np.minimum(streams.drawn("normal", 1, 2000), 4.0)
    assert follow(calm).sum() == 0
    wild = 3 * streams.drawn("normal", 2, 2000)
    before = follow.state().threshold
    assert follow(wild).sum() > 4 * 0.02 * 2000
    after = follow.state().threshold
    assert 1 < after / before < np.e  # bounded


FEW = [(10, 0.02, 3), (32, 0.005, 3), (64, 0.2, 3), (2, 0.02, 6), (8, 0.001, 20)]


@pytest.mark.parametrize(
    ("size", "fraction", "thousands"), mostly_one_backend(FEW, (10, 0.02, 3))
)
def test_layers_of_a_few_activations(size, fraction, thousands):
    """Less than one activation a batch is selected on average."""
    follow = follower(fraction)
    stream = streams.drawn("normal", 8, 1000 * thousands, size)
    share = np.mean([follow(phi).mean() for phi in stream])
    assert 0.9 * fraction < share < 1.1 * fraction


@pytest.mark.parametrize("steps", [40, 400])
@pytest.mark.parametrize("dead", [0.0, 1e-12])
def test_activations_that_were_constant_come_back(dead, steps):
    """Not the whole of the next batches is selected, and it is followed again."""
    follow, oracle = follower(0.02), ThresholdOracle(0.02)
    batches = streams.drawn("normal", 9, 100, 500)
    shares = []
    constant = np.full_like(batches[0], dead)
    for phi in (*batches[:20], *[constant] * steps, *batches[20:]):
        shares.append(follow(phi).mean())
        assert shares[-1] == oracle.follow(phi).mean()
    back = shares[20 + steps :]
    assert max(back) <= 0.1
    assert 0.01 < np.mean(back[-32:]) < 0.04


def test_masked_entries_are_no_activations():
    """Half of the entries masked: φ = 0, and not counted."""
    follow, without = follower(0.05), follower(0.05)
    for phi in streams.drawn("normal", 3, 50, 1000):
        padded = np.concatenate([phi, np.zeros_like(phi)])
        selected = follow(padded, counted=1000)
        np.testing.assert_array_equal(selected[:1000], without(phi))
        assert not selected[1000:].any()
    assert follow.state() == without.state()


def test_nothing_is_learned_from_nothing():
    follow = follower(0.05)
    nothing = np.zeros((3, 100), "float32")
    assert not follow(nothing, counted=0).any()
    assert follow.state().threshold == np.float32(1e30)
    for phi in streams.drawn("normal", 4, 5, 3, 100):
        follow(phi)
    before = follow.state()
    assert before.num_batches == 6
    assert not follow(nothing, counted=0).any()
    expected = before._replace(selected_fraction=0.0, num_batches=7)
    assert follow.state() == expected


@pytest.mark.parametrize("counted", [0, np.float32(0.0)])
@pytest.mark.parametrize("number", [7, 8])  # the latter searches
@pytest.mark.parametrize("is_known", [False, True])
def test_an_empty_batch(is_known, number, counted):
    selector = km.selectors.MovingThreshold(0.1)
    given = ThresholdState(2.0, 0.1, number, 0.2, 0.3, 1.01, 0.1, 0.2, 0.3, 0.0)
    state = keras.ops.convert_to_tensor(np.array(given, "float32"))
    empty = keras.ops.zeros((0, 4))
    if not isinstance(counted, int):
        counted = keras.ops.convert_to_tensor(counted)
    known = {"num_batches": number} if is_known else {}
    selected, after = selector.update(empty, counted, state, **known)
    assert tuple(selected.shape) == (0, 4)
    expected = given._replace(selected_fraction=0.0, num_batches=number + 1.0)
    np.testing.assert_allclose(numbers(after), expected, 1e-6)


@pytest.mark.parametrize("extreme", [0.0, 1e-30, 1e30, np.inf])
def test_never_nan_and_recovers(extreme):
    follow = follower(0.05)
    for phi in streams.drawn("normal", 5, 40, 500):
        follow(phi)
    for _ in range(40):
        follow(np.full(500, extreme, "float32"))
        assert np.isfinite(follow.state()).all()
    for phi in streams.drawn("normal", 6, 200, 500):
        selected = follow(phi)
        assert np.isfinite(follow.state()).all()
    assert 3.0 < follow.state().threshold < 5.0  # 3.84 is exceeded by 5 %
    assert 5 < selected.sum() < 60


def test_zero_is_never_selected():
    follow = follower(0.2)
    for phi in streams.drawn("relu_sparse_around_zero", 7, 50, 1000):
        np.testing.assert_array_equal(follow(phi), phi > 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2, float("nan"), "0.1", None])
def test_fraction_must_lie_between_0_and_1(fraction):
    with pytest.raises(ValueError, match=r"`fraction` must.*Received: fraction="):
        km.selectors.MovingThreshold(fraction)


def test_needs_the_state_that_a_layer_keeps():
    with pytest.raises(ValueError, match=r"`state` must hold.*layer\.selected"):
        km.selectors.MovingThreshold()(np.ones((2, 3), "float32"))


def test_serialization():
    selector = km.selectors.MovingThreshold(0.07)
    again = km.selectors.get(keras.saving.serialize_keras_object(selector))
    assert isinstance(again, km.selectors.MovingThreshold)
    assert again.fraction == 0.07
    assert km.selectors.get(np.float32(0.5)).fraction == 0.5
