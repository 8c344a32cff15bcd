"""`selectors.Random`: as many activations, drawn at random."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain, fit, normal
from support.training import numbers


def layer(fraction=0.1, seed=0, **options):
    select = km.selectors.Random(fraction, seed)
    return km.layers.MonosemanticPenalty(1.0, select, start_step=1, **options)


def draws(made, batches, shape=(50, 20)):
    """What the layer selects from each of some batches."""
    found = []
    for i in range(batches):
        z = normal(*shape, seed=i)
        found.append(numbers(made.selected(z)) if made.built else None)
        made(z, training=True)
    return found


@pytest.mark.one_backend  # the draws are the same on every one, as the next test shows
def test_as_many_as_the_fraction_of_each_neuron_and_batch():
    found = np.array(draws(layer(), 101)[1:])
    share, entries = found.mean(), found.size
    assert abs(share - 0.1) < 4 * np.sqrt(0.09 / entries)
    for axes in ((0, 1), (0, 2), (1, 2)):
        shares = found.mean(axis=axes)
        spread = np.sqrt(0.09 / (entries / shares.size))
        assert np.abs(shares - 0.1).max() < 5 * spread
        assert shares.std() < 1.5 * spread
    # Neighbours, and the same position in the next batch, are drawn for themselves.
    for axis in range(3):
        first, second = (
            np.moveaxis(found, axis, 0)[s] for s in (slice(1, None), slice(-1))
        )
        assert abs((first & second).mean() - 0.01) < 4 * np.sqrt(0.0099 / first.size)


def test_the_draws_do_not_depend_on_the_backend():
    found = draws(layer(seed=7), 3, (4, 8))[-1]
    assert np.flatnonzero(found).tolist() == [0, 7, 11]


@pytest.mark.one_backend
def test_another_seed_draws_others():
    one, same, other = (draws(layer(seed=s), 3)[-1] for s in (1, 1, 2))
    assert (one == same).all()
    assert 0.0 < (one & other).mean() < 0.03


def test_what_is_selected_is_what_was_shown_and_the_share_is_told():
    made = layer(0.3)
    draws(made, 3)
    z = normal(50, 20, seed=9)
    shown = numbers(made.selected(z))
    made(z, training=True)
    told = made.selector_state["selected_fraction"]
    assert told == pytest.approx(shown.mean(), rel=1e-6)


def test_a_phi_that_some_backends_take_for_0_is_not_drawn():
    select = km.selectors.Random(0.5, seed=1)
    phi = np.full((64, 2), 1e-39, "float32")
    phi[:, 1] = 1.0
    drawn = numbers(select(phi, state=keras.ops.zeros((2,)))).sum(axis=0)
    assert drawn[0] == 0
    assert drawn[1] > 16


def test_entries_that_do_not_count_are_not_drawn():
    made = layer(0.9)
    draws(made, 2)
    z = normal(50, 20)
    z[3, 4] = np.nan
    mask = np.ones(50, bool)
    mask[7] = False
    selected = numbers(made.selected(z, mask))
    assert not selected[3, 4]
    assert not selected[7].any()
    assert selected.mean() > 0.8


def test_training_goes_on_with_the_draws_after_saving(tmp_path):
    x = normal(32, 20)
    model = chain((20,), layer(seed=None, name="penalty"))
    fit(model, x, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    after = []
    for each in (model, loaded):
        after.append(numbers(each.get_layer("penalty").selected(x)))
        fit(each, x, x)
        after.append(numbers(each.get_layer("penalty").selected(x)))
    assert (after[0] == after[2]).all()
    assert (after[1] == after[3]).all()
    assert (after[0] != after[1]).any()
    assert loaded.get_layer("penalty").selector_state["num_batches"] == 7


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, True])
def test_a_seed_that_is_none(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        km.selectors.Random(0.02, seed)


def test_a_fraction_that_is_none():
    with pytest.raises(ValueError, match="`fraction` must lie between 0 and 1"):
        km.selectors.Random(1.5)


def test_without_a_layer_there_is_no_state():
    with pytest.raises(ValueError, match="Pass `Random` to a layer"):
        km.selectors.Random()(np.ones((2, 3), "float32"))
