"""Statistics that would switch a layer off are refused, prevented or told."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain, normal
from support.training import numbers

LARGEST = 2**31 - 1


def network():
    return chain(
        (4,),
        km.layers.MonosemanticPenalty(select=0.1, start_step=1, name="penalty"),
        km.layers.MonosemanticInhibition(2, start_step=1, name="inhibition"),
        km.layers.MonosemanticScale(name="scale"),
    )


def fit(model):
    model.fit(normal(32, 4), normal(32, 4), batch_size=8, verbose=0)
    return model


def stored(layer):
    store = {}
    layer.save_own_variables(store)
    return store


def spoilt(value, by):
    value = np.array(value, "float64" if np.isfinite(by) else value.dtype)
    value.flat[-1] = by
    return value


CASES = [
    ("mean", np.nan),
    ("mean", -np.inf),
    ("mean_compensation", np.nan),
    ("variance", np.inf),
    ("variance", -1.0),
    ("count", -8.0),
    ("count", np.nan),
    ("max_batch_count", np.inf),
    ("selector_state", np.nan),
    ("penalty", np.inf),
    ("non_finite", -1.0),
    ("non_finite", 2.0**31),
    ("step", 2.0**40),
    ("step", -1.0),
]


@pytest.fixture(scope="module")
def penalty():
    """A trained layer, which nothing that is refused changes."""
    return fit(network()).get_layer("penalty")


@pytest.mark.support("a file with NaN or impossible statistics: an error names them")
@pytest.mark.parametrize(("name", "value"), CASES)
def test_refused_by_a_layer(name, value, penalty):
    store, before = stored(penalty), stored(penalty)
    store[name] = spoilt(store[name], value)
    message = rf"'penalty' cannot load `{name}`: expected finite.*Received: 1 other"
    with pytest.raises(ValueError, match=message):
        penalty.load_own_variables(store)
    for key, now in stored(penalty).items():  # and nothing is half loaded
        np.testing.assert_array_equal(now, before[key], err_msg=key)


@pytest.mark.parametrize("ending", ["weights.h5", "keras"])
def test_refused_in_a_file(tmp_path, ending):
    model = fit(network())
    variance = model.get_layer("inhibition").variance
    variance.assign(spoilt(numbers(variance), np.nan))
    file = tmp_path / f"of.{ending}"
    save = model.save if ending == "keras" else model.save_weights
    save(file)
    load = keras.saving.load_model if ending == "keras" else network().load_weights
    with pytest.raises(ValueError, match=r"'inhibition' cannot load `variance`"):
        load(file)


def test_what_is_not_refused_is_told():
    model = fit(network())
    assert [row["on"] for row in km.status(model)] == [True, True, None]
    weights = model.get_weights()
    for variable, value in zip(model.weights, weights, strict=True):
        if variable.path.endswith("inhibition/variance"):
            value.flat[0] = np.nan
    model.set_weights(weights)
    rows = {row["layer"]: row for row in km.status(model)}
    assert (rows["penalty"]["on"], rows["inhibition"]["on"]) == (True, False)
    assert rows["inhibition"]["drowned"] == 1.0


@pytest.mark.one_backend
def test_one_neuron_of_enormous_variance_is_told():
    rows = []
    for scale in (1.0, 1e4):
        layer = km.layers.MonosemanticInhibition(axis=-1, start_step=1)
        for seed in range(3):
            z = normal(64, 50, seed=seed)
            z[:, 7] *= scale
            layer(z, training=True)
        model = keras.Sequential([keras.Input((50,)), layer])
        rows.append(km.status(model)[0])
        quiet = np.delete(numbers(layer.selected(z)), 7, axis=1).sum()
        assert (quiet == 0) == (scale > 1)
    assert [row["drowned"] for row in rows] == [0.0, 0.98]


def test_a_dead_neuron_does_not_count_as_drowned():
    layer = km.layers.MonosemanticScale(axis=-1)
    z = normal(64, 4)
    z[:, 0] = 3.0
    layer(z, training=True)
    model = keras.Sequential([keras.Input((4,)), layer])
    assert km.status(model)[0]["drowned"] == 0.0


@pytest.mark.parametrize("jitted", [False, True])
def test_counters_stay_at_the_largest_number(jitted):
    model = network()
    eagerly = {"run_eagerly": True, "jit_compile": False}
    model.compile("sgd", "mse", **({} if jitted else eagerly))
    layers = [model.get_layer(n) for n in ("penalty", "inhibition", "scale")]
    for layer in layers:
        layer.step.assign(LARGEST - 2)
        layer.non_finite.assign(LARGEST - 3)
    x = normal(32, 4)
    x[:, 0] = np.nan
    model.fit(x, normal(32, 4), batch_size=8, verbose=0)
    for layer in layers:
        assert int(numbers(layer.step)) == LARGEST
        assert int(numbers(layer.non_finite)) == LARGEST
    assert [row["on"] for row in km.status(model)] == [True, True, None]


def test_non_finite_entries_are_counted_one_by_one():
    """In float32 the count would stop at 2 to the 24."""
    layer = km.layers.MonosemanticScale(axis=-1)
    z = normal(4, 3)
    z[0, 0] = np.inf
    layer(normal(4, 3), training=True)
    layer.non_finite.assign(2**24)
    for _ in range(3):
        layer(z, training=True)
    assert int(numbers(layer.non_finite)) == 2**24 + 3


def test_a_long_history_of_a_large_variance():
    for count in (1e9, 1e20, 3e38):
        layer = km.layers.MonosemanticScale(axis=-1, forget_steps=None)
        layer.build((None, 3))
        layer.count.assign(np.full((1, 3), count))
        layer.variance.assign(np.full((1, 3), 1e30))
        layer(1e15 * normal(8, 3), training=True)
        np.testing.assert_allclose(numbers(layer.variance), 1e30, rtol=1e-5)
        assert layer.is_finite()
        assert numbers(layer.score(1e15 * normal(8, 3))).max() > 0.1
