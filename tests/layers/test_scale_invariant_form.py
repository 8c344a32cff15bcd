"""`MonosemanticPenalty(form="phi")` in models that train, against NumPy."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.oracle import Oracle
from support.small import dtype_policy
from support.training import numbers

FORMS = ["phi", "log_phi"]
RATE, WEIGHT = 0.03, 0.3
OPTIONS = {"start_step": 2, "forget_steps": 3}


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(32, 5)).astype("float32")
    return x, rng.normal(size=(32, 2)).astype("float32")


def network(form, **compiled):
    inputs = keras.Input((5,))
    x = keras.layers.Dense(6, use_bias=False)(inputs)
    x = km.layers.MonosemanticPenalty(WEIGHT, 2, form=form, name="penalty", **OPTIONS)(
        x
    )
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(x))
    model.compile(keras.optimizers.SGD(RATE), "mse", **compiled)
    return model


class Expected:
    """The same network in NumPy, float64."""

    def __init__(self, model, form):
        self.below, self.above = (numbers(w) for w in model.trainable_variables)
        self.oracle = Oracle(axes=(1,), select_count=2, **OPTIONS)
        self.form, self.penalty = form, 0.0

    def train(self, x, y):
        z = (x @ self.below).astype("float64")
        _, selected = self.oracle.train(z)
        self.penalty, pull = self.penalty_of(z, selected)
        error = 2 * (z @ self.above - y) / y.size
        gradient = error @ self.above.T + WEIGHT * pull
        self.above = self.above - RATE * z.T @ error
        self.below = self.below - RATE * x.T @ gradient

    def penalty_of(self, z, selected):
        d = z - z.mean(axis=0)
        count, v = len(d), d.var(axis=0)
        phi = d**2 / v
        if self.form == "phi":
            g, w = phi, 2 * d / v
        else:
            g, w = np.log(np.maximum(phi, 1)), np.where(phi > 1, 2 / d, 0)
        w = np.where(selected, w, 0)
        pull = w - w.sum(axis=0) / count - d * (w * d).sum(axis=0) / (count * v)
        n = max(selected.sum(), 1)
        return WEIGHT * g[selected].sum() / n, pull / n


WAYS = {"fit": {}, "eager": {"run_eagerly": True}, "jit": {"jit_compile": True}}
if keras.config.backend() == "torch":
    del WAYS["jit"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_training_equals_the_same_steps_in_numpy(way, form):
    model, (x, y) = network(form, **WAYS[way]), data()
    expected = Expected(model, form)
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for _ in range(3):
        for start in range(0, 32, 8):
            expected.train(x[start : start + 8], y[start : start + 8])
    layer = model.get_layer("penalty")
    assert layer.penalty > 0.1
    np.testing.assert_allclose(layer.penalty, expected.penalty, rtol=1e-3)
    for variable, value in zip(
        model.trainable_variables, (expected.below, expected.above), strict=True
    ):
        np.testing.assert_allclose(numbers(variable), value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_masked_entries_change_nothing(form):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 8, 4, 5)).astype("float32")
    mask = rng.random((6, 8, 4)) < 0.7
    found = []
    for fill in (0.0, 1e3, np.nan):
        layer = km.layers.MonosemanticPenalty(1.0, 0.2, form=form, start_step=2)
        penalties = []
        for batch, kept in zip(z, mask, strict=True):
            filled = np.where(kept[..., None], batch, np.float32(fill))
            layer(filled, mask=kept, training=True)
            penalties.append(layer.penalty)
        found.append(penalties)
    assert found[0] == found[1] == found[2]
    assert found[0][-1] > 1.0


def test_mixed_precision_trains():
    with dtype_policy("mixed_bfloat16"):
        model = network("phi")
    x, y = data()
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert model.get_layer("penalty").compute_dtype == "bfloat16"
    assert model.get_layer("penalty").penalty > 0.1
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_form_is_saved(tmp_path):
    model = network("phi")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("penalty").form == "phi"


def test_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`form` must be one of .*'phi'"):
        km.layers.MonosemanticPenalty(form="L2E")
