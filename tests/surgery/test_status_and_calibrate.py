"""What the table says, and statistics that come from data without training."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import student_t
from support.training import numbers


def model_of(*layers):
    return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(2)])


def data(n=96):
    return student_t(3, n, 8)


def watched():
    return model_of(
        keras.layers.Dense(16),  # TensorFlow's ReLU may make 0 of NaN
        km.layers.MonosemanticInhibition(2, start_step=3, name="inhibition"),
        keras.layers.Dropout(0.5),
        km.layers.MonosemanticPenalty(select=0.1, start_step=3, name="penalty"),
        km.layers.MonosemanticScale(name="scale"),
    )


def test_status_of_layers_that_have_seen_nothing():
    rows = {row["layer"]: row for row in km.status(watched())}
    assert list(rows) == ["inhibition", "penalty", "scale"]
    assert [row["steps"] for row in rows.values()] == [0, 0, 0]
    assert [row["on"] for row in rows.values()] == [False, False, None]
    assert rows["inhibition"]["selected_fraction"] == 2 / 16
    assert rows["penalty"]["threshold"] is None
    assert rows["scale"]["select"] is None
    acts = [(row["form"], row["factor"]) for row in rows.values()]
    assert acts == [("reversed", 1.0), ("relative", 0.07), (None, None)]


def test_status_after_training():
    model = watched()
    model.compile("sgd", "mse")
    x = data()
    x[-1, 3] = np.nan
    model.fit(x, np.zeros((96, 2)), batch_size=16, verbose=0, shuffle=False)
    rows = {row["layer"]: row for row in km.status(model)}
    assert [row["steps"] for row in rows.values()] == [6, 6, 6]
    assert [row["on"] for row in rows.values()] == [True, True, None]
    assert rows["penalty"]["threshold"] > 0
    assert rows["inhibition"]["non_finite"] > 0
    state = model.get_layer("penalty").selector_state
    assert rows["penalty"]["selected_fraction"] == state["selected_fraction"]


def test_status_says_how_much_the_neurons_vary():
    model = model_of(km.layers.MonosemanticScale(name="scale", forget_steps=None))
    assert [km.status(model)[0][c] for c in ("scale", "dead", "drowned")] == [None] * 3
    x = data()
    x[:, 2], x[:, 5] = 0.1, np.float32(1000) + np.arange(96) % 2 * np.float32(1e-4)
    x[:, 7] *= 1e-3
    km.calibrate(model, x, batch_size=16)
    (row,) = km.status(model)
    deviations = x.astype("float64").std(axis=0, ddof=1)
    assert row["scale"] == pytest.approx(deviations.mean(), rel=1e-4)
    assert row["dead"] == 2 / 8
    assert row["drowned"] == 1 / 6
    assert "0.25" in str(km.status(model))


def test_neurons_without_a_history_are_not_dead():
    model = model_of(km.layers.MonosemanticScale(name="scale"))
    x = data()
    x[:, :3] = np.nan
    km.calibrate(model, x, batch_size=16)
    (row,) = km.status(model)
    assert row["dead"] == 0.0
    deviations = x[:, 3:].astype("float64").std(axis=0, ddof=1)
    assert row["scale"] == pytest.approx(deviations.mean(), rel=0.3)


@pytest.mark.one_backend
def test_status_of_a_layer_that_selects_at_random():
    """It has a share, and no threshold."""
    select = km.selectors.Random(0.25, seed=1)
    layer = km.layers.MonosemanticPenalty(select=select, start_step=1)
    model = keras.Sequential([keras.Input((8,)), layer])
    for seed in range(3):
        model(np.random.default_rng(seed).normal(size=(16, 8)), training=True)
    (row,) = km.status(model)
    assert row["selected_fraction"] == layer.selector_state["selected_fraction"] > 0
    assert row["threshold"] is None


def test_what_is_off_says_so():
    model = watched()
    model.get_layer("penalty").enabled = False
    model.get_layer("penalty").weight = 0.5
    model.get_layer("inhibition").trainable = False
    km.calibrate(model, data(), batch_size=16)
    assert [row["on"] for row in km.status(model)] == [False, False, None]
    assert [row["factor"] for row in km.status(model)] == [1.0, 0.5, None]


def test_status_of_a_model_without_layers_and_of_an_unbuilt_one():
    assert len(km.status(model_of())) == 0
    unbuilt = keras.Sequential([km.layers.MonosemanticInhibition()])
    assert km.status(unbuilt)[0]["neurons"] is None


def test_calibration_equals_training_with_a_learning_rate_of_zero():
    x = data()
    layer = km.layers.MonosemanticPenalty(select=0.1, start_step=2, name="layer")
    trained = model_of(keras.layers.Dense(16), layer)
    copy = keras.models.clone_model(trained)
    copy.set_weights(trained.get_weights())
    trained.compile(keras.optimizers.SGD(0.0), "mse")
    zeros = np.zeros((96, 2))
    trained.fit(x, zeros, batch_size=16, verbose=0, shuffle=False)
    assert km.calibrate(copy, x, batch_size=16) is copy
    pairs = zip(
        trained.get_layer("layer").saved_variables(),
        copy.get_layer("layer").saved_variables(),
        strict=True,
    )
    for a, b in pairs:
        if a.name != "penalty":  # what was added to the loss
            np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-5, atol=1e-6)


def test_calibration_changes_no_weight_and_no_batch_normalization():
    model = model_of(
        keras.layers.Dense(16),
        keras.layers.BatchNormalization(),
        km.layers.MonosemanticInhibition(name="inhibition", start_step=1),
    )
    before = [numbers(w) for layer in model.layers[:2] for w in layer.weights]
    km.calibrate(model, data(), batch_size=16)
    after = [numbers(w) for layer in model.layers[:2] for w in layer.weights]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    expected = numbers(keras.Sequential(model.layers[:2])(data()))
    inhibition = model.get_layer("inhibition")
    np.testing.assert_allclose(
        numbers(inhibition.mean)[0], expected.mean(0), rtol=1e-4, atol=1e-5
    )


def test_calibration_starts_anew_and_ends():
    model = watched()
    for _ in range(2):
        km.calibrate(model, data(), batch_size=32)
        assert [row["steps"] for row in km.status(model)] == [3, 3, 3]
    model.predict(data(), verbose=0)
    model(data())
    assert [row["steps"] for row in km.status(model)] == [3, 3, 3]


@pytest.mark.one_backend
def test_bad_arguments():
    with pytest.raises(ValueError, match="has no layer of this library"):
        km.calibrate(model_of(), data())
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        km.calibrate(watched(), data(), batch_size=0)
    model = watched()
    with pytest.raises(ValueError, match="at least one"):
        km.calibrate(model, data()[:0])
    for wrong in (None, "model"):
        with pytest.raises(ValueError, match=r"Expected a Keras model\. Received: "):
            km.status(wrong)
    assert not model.get_layer("scale").listeners


@pytest.mark.parametrize("bad", [np.zeros((0, 8)), np.zeros((9, 5)), None])
def test_bad_data_costs_no_history(bad):
    layers = [keras.Input((8,)), km.layers.MonosemanticInhibition(name="q")]
    model = keras.Sequential(layers)
    km.calibrate(model, np.random.default_rng(0).normal(size=(64, 8)))
    layer = model.get_layer("q")
    before = [keras.ops.convert_to_numpy(v).copy() for v in layer.saved_variables()]
    with pytest.raises(Exception):  # noqa: B017, PT011
        km.calibrate(model, bad)
    for was, now in zip(before, layer.saved_variables(), strict=True):
        np.testing.assert_array_equal(was, keras.ops.convert_to_numpy(now))
    assert not layer.listeners
