"""`MonosemanticPenalty(form="relative")` in models that train, against NumPy."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import against_numpy
from support.against_numpy import OPTIONS, WAYS, InNumpy, assert_trains_alike, data
from support.small import dtype_policy, fit, normal, student_t
from support.training import value_and_gradient

RATE, WEIGHT = 0.1, 0.5


def layer(*given, **options):
    return km.layers.MonosemanticPenalty(
        *given, form="relative", **{**OPTIONS, **options}
    )


def network(**compiled):
    return against_numpy.network(layer(WEIGHT, 2), RATE, **compiled)


class Expected(InNumpy):
    def through(self, z):
        _, selected = self.oracle.train(z)
        d, self.scale = z - z.mean(axis=0), z.std(axis=0)
        e = np.where(selected, d, 0.0)
        self.pull = e - e.mean(axis=0) - d * (e * d).mean(axis=0) / self.scale**2
        self.phi = (d / self.scale)[selected] ** 2
        return z

    def back(self, g):
        s, pull = self.scale, self.pull
        length = np.linalg.norm(pull / s)
        return g + WEIGHT * np.linalg.norm(s * g) * pull / s**2 / max(length, 1e-9)


@pytest.mark.parametrize("way", WAYS)
def test_training_equals_the_same_steps_in_numpy(way):
    model = network(**WAYS[way])
    expected = Expected(model, RATE)
    assert_trains_alike(model, expected)
    assert len(expected.phi) > 10
    np.testing.assert_allclose(model.layers[1].penalty, expected.phi.mean(), rtol=1e-3)


def test_the_loss_is_that_of_plain_training():
    model, (x, y) = network(), data()
    plain = np.mean((model.predict(x, verbose=0) - y) ** 2)
    history = model.fit(x, y, batch_size=32, verbose=0)
    assert history.history["loss"][0] == pytest.approx(plain, rel=1e-5)
    assert model.losses == []


def test_masked_entries_change_nothing():
    z, mask = normal(6, 8, 4, 5), normal(6, 8, 4, seed=1) < 0.5
    upstream, found = normal(8, 4, 5, seed=2), []
    for fill in (0.0, 1e3, np.nan):
        watched, pulls = layer(1.0, 0.2), []
        for batch, kept in zip(z, mask, strict=True):
            filled = np.where(kept[..., None], batch, np.float32(fill))
            _, pull = value_and_gradient(watched, filled, upstream, mask=kept)
            pulls.append(np.where(kept[..., None], pull, 0.0))
            np.testing.assert_array_equal(pull[~kept], upstream[~kept])
        found.append([*pulls, watched.penalty])
    for pulls in found[1:]:
        for one, other in zip(found[0], pulls, strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.abs(found[0][-2] - np.where(mask[-1][..., None], upstream, 0)).max() > 0.1


def test_weight_takes_effect_at_the_next_step():
    z, upstream = student_t(3, 16, 5), normal(16, 5, seed=1)
    watched, added = layer(1.0, 2, start_step=1), []
    value_and_gradient(watched, z, upstream)
    for weight in (1.0, 2.0, 0.0):
        watched.weight = weight
        watched.reset()
        value_and_gradient(watched, z, upstream)
        _, pull = value_and_gradient(watched, z, upstream)
        added.append(np.linalg.norm(pull - upstream))
    assert added[0] > 0.1
    assert added[1] == pytest.approx(2 * added[0], rel=1e-4)
    assert added[2] == 0.0


def test_mixed_precision_trains():
    with dtype_policy("mixed_bfloat16"):
        model = network()
    fit(model, *data(), epochs=3)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.layers[1].penalty > 1.0
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_it_is_saved(tmp_path):
    network().save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").layers[1]
    assert (loaded.form, loaded.weight) == ("relative", WEIGHT)
    assert km.layers.MonosemanticPenalty().form == "relative"


def test_each_form_has_a_default_weight():
    weights = {
        form: km.layers.MonosemanticPenalty(form=form).weight
        for form in ("relative", "phi", "log_phi", "l2e")
    }
    assert weights["relative"] > weights["phi"] == weights["l2e"] == 0.003


def test_there_is_nothing_to_add_to_a_loss():
    watched = layer()
    watched(normal(8, 4), training=True)
    assert watched.losses == []
    with pytest.raises(RuntimeError, match="adds nothing: it changes the gradient"):
        watched.penalize(normal(8, 4))
