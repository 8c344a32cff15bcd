"""`MonosemanticPenalty(form="phi")` in models that train, against NumPy."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import against_numpy
from support.against_numpy import OPTIONS, WAYS, InNumpy, assert_trains_alike, data
from support.small import dtype_policy, fit

FORMS = ["phi", "log_phi"]
RATE, WEIGHT = 0.03, 0.3


def network(form, **compiled):
    layer = km.layers.MonosemanticPenalty(WEIGHT, 2, form=form, **OPTIONS)
    return against_numpy.network(layer, RATE, **compiled)


class Expected(InNumpy):
    def __init__(self, model, form):
        super().__init__(model, RATE)
        self.form = form

    def through(self, z):
        _, selected = self.oracle.train(z)
        self.penalty, self.pull = self.penalty_of(z, selected)
        return z

    def back(self, g):
        return g + WEIGHT * self.pull

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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_training_equals_the_same_steps_in_numpy(way, form):
    model = network(form, **WAYS[way])
    expected, layer = Expected(model, form), model.layers[1]
    assert_trains_alike(model, expected)
    assert layer.penalty > 0.1
    np.testing.assert_allclose(layer.penalty, expected.penalty, rtol=1e-3)


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
    fit(model, *data(), epochs=3)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.layers[1].penalty > 0.1
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_form_is_saved(tmp_path):
    model = network("phi")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].form == "phi"


def test_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`form` must be one of .*'phi'"):
        km.layers.MonosemanticPenalty(form="L2E")
