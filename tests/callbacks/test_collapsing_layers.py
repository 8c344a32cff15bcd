"""Scale and dead neurons in the monitor, and its warning of a layer that collapses."""

import copy
import math
import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

Monitor = km.callbacks.MonosemanticityMonitor
X = small.normal(64, 6)
PROBE = small.normal(48, 6, seed=1) * 2


class Changed(keras.callbacks.Callback):
    """Gives the layer "hidden" other weights at the beginning of each epoch.

    `scales` are what its first kernel is multiplied by; `biases` those of its neurons.
    """

    def __init__(self, scales=None, biases=None):
        super().__init__()
        self.scales, self.biases = scales, biases

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        layer = self.model.get_layer("hidden")
        if epoch == 0:
            self.kernel = numbers(layer.kernel)
        if self.scales is not None:
            layer.kernel.assign(self.kernel * self.scales[epoch])
        if self.biases is not None:
            layer.bias.assign(self.biases[epoch])


def still(watched=None):
    """A network that learns nothing, so that what happens is what the test does."""
    keras.utils.set_random_seed(0)
    watched = watched or km.layers.MonosemanticScale(name="watched")
    hidden = keras.layers.Dense(4, "relu", name="hidden")
    layers = [hidden, watched, keras.layers.Dense(1)]
    return small.chain((6,), *layers, optimizer=keras.optimizers.SGD(0.0))


def told(model, monitor, change, epochs, *others):
    """The texts of the warnings that a layer collapses, and the history."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = small.fit(
            model, X, X[:, :1], change, monitor, *others, epochs=epochs
        ).history
    texts = [str(w.message) for w in caught]
    return [text for text in texts if "has collapsed since" in text], history


def off(*neurons):
    """Biases at which these of the four ReLU are 0 for all inputs."""
    return [-1e4 if i in neurons else 0.0 for i in range(4)]


@pytest.mark.parametrize("layer", ["hidden", "watched"])
def test_scale_and_dead_equal_numpy(layer):
    model = still()
    monitor = Monitor(PROBE, layers=[layer], batch_size=20)
    biases = [off(2), [0.3, -2.0, -0.1, 0.7], off(0, 1)]
    _, history = told(model, monitor, Changed([1.0, 2.0, 0.5], biases), 3)
    kernel = numbers(model.get_layer("hidden").kernel).astype("float64") / 0.5
    deviations = []
    for scale, bias in zip([1.0, 2.0, 0.5], biases, strict=True):
        z = np.maximum(PROBE @ (scale * kernel) + bias, 0)
        deviations.append(z.std(axis=0))
    scales = np.mean(deviations, axis=1)
    np.testing.assert_allclose(history[f"{layer}_scale"], scales / scales[0], rtol=1e-4)
    assert history[f"{layer}_dead"] == [0.25, 0.0, 0.5]
    assert [row["dead"] for row in monitor.rows] == [0.25, 0.0, 0.5]


def test_a_neuron_that_only_rounds_is_dead():
    model = still()
    kernel = numbers(model.get_layer("hidden").kernel)
    kernel[:, 0] = 2e-5  # at 1000 float32 holds multiples of 6e-5
    kernel[:, 1] = 2e-3
    model.get_layer("hidden").kernel.assign(kernel)
    change = Changed(biases=[[1000.0, 1000.0, 0.0, 0.0]])
    _, history = told(model, Monitor(PROBE, layers=["hidden", "watched"]), change, 1)
    z = np.maximum((PROBE @ kernel).astype("float32") + np.float32(1000), 0)
    assert z[:, 0].std() > 0
    assert history["hidden_dead"] == history["watched_dead"] == [0.25]
    model.get_layer("hidden").kernel.assign(np.full((6, 4), 2e-5))
    change = Changed(biases=[[1000.0] * 4])
    _, history = told(model, Monitor(PROBE), change, 1)
    assert (history["watched_dead"], history["watched_scale"]) == ([1.0], [0.0])


def test_what_does_not_count_is_in_no_figure():
    tokens = keras.Input((5, 3))
    watched = km.layers.MonosemanticScale(axis=-1, name="watched")
    seen = watched(keras.layers.Masking(0.0)(tokens))
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(seen))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, probe = small.normal(32, 5, 3), small.normal(32, 5, 3, seed=1)
    probe[..., 2] = 7.0
    probe[:, 3:] = 0.0  # padding
    probe[4, 0, 2], probe[5, 0, 2], probe[6:9, :3, 1] = np.nan, 1e20, -np.inf
    probe[9, 0, 0] = 1e30
    deviations = []

    def grow(epoch, logs):  # noqa: ARG001
        probe[..., 0] *= 3.0 if epoch else 1.0
        z = probe[:, :3].reshape(-1, 3).astype("float64")
        z[~(abs(z) < 3.6e16)] = np.nan
        deviations.append(np.nanstd(z, axis=0).mean())

    grown = keras.callbacks.LambdaCallback(on_epoch_begin=grow)
    monitor = Monitor(probe, batch_size=7)
    small.fit(model, x, x[:, 0], grown, monitor, epochs=2)
    assert [row["dead"] for row in monitor.rows] == [pytest.approx(1 / 3)] * 2
    ratio = deviations[1] / deviations[0]
    assert monitor.rows[1]["scale"] == pytest.approx(ratio, rel=1e-5)


SMALL, HALF_DEAD = [0.1] * 5, [off(0, 1)] * 5
COLLAPSE = {
    "three times below a fifth": ([1, 1, 0.19, 0.19, 0.19], None, 3),
    "twice": ([1, 1, 1, 0.19, 0.19], None, None),
    "dips": ([1, 0.19, 0.19, 1, 0.19], None, None),
    "above a fifth": ([1, 0.21, 0.21, 0.21, 0.21], None, None),
    "it shrinks on": ([1, 0.19, 0.1, 0.05, 0.01], None, 2),
    "a quarter above its lowest": ([1, 0.1, 0.1, 0.126, 0.126], None, None),
    "less than that": ([1, 0.1, 0.1, 0.124, 0.124], None, 2),
    "lower again": ([1, 0.15, 0.19, 0.15, 0.15], None, None),
    "lower in an earlier dip": ([1, 0.01, 1, 0.1, 0.1, 0.1], None, 4),
    "half of the neurons die": (None, [off()] * 2 + [off(0, 1)] * 3, 3),
    "one neuron dies": (None, [off()] + [off(0)] * 4, None),
    "one more than before": (None, [off(0)] + [off(0, 1)] * 4, None),
    "dead from the start": (None, [off(0, 1, 2)] * 5, None),
    "two revive, two die": (None, [off(0, 1)] + [off(2, 3)] * 4, 2),
    "all die before the first measurement": (None, [off(0, 1, 2, 3)] * 5, 1),
    "small and half dead before it": (SMALL, HALF_DEAD, 1),
    "only small": (SMALL, None, None),
    "small and one dead": (SMALL, [off(0)] * 5, None),
    "only half dead": (None, HALF_DEAD, None),
    "it was small, and grows": ([0.05, 0.06, 0.07, 0.08, 0.1], HALF_DEAD, None),
}


@pytest.mark.one_backend
def test_a_layer_without_finite_activations_is_told_of_once():
    probe = PROBE.copy()
    probe[3] = np.inf  # not all of them
    change = Changed(biases=[off(), *[[np.nan] * 4] * 2])
    with pytest.warns(UserWarning, match="NaN or infinite") as caught:
        small.fit(still(), X, X[:, :1], change, Monitor(probe), epochs=3)
    (text,) = [str(w.message) for w in caught if "NaN or infinite" in str(w.message)]
    assert "All activations of the layers ['watched']" in text
    assert "infinite in epoch 2" in text
    assert "keras.callbacks.TerminateOnNaN()" in text


@pytest.mark.one_backend
@pytest.mark.parametrize("case", COLLAPSE)
def test_when_a_layer_is_told_of(case):
    scales, biases, since = COLLAPSE[case]
    change = Changed(scales, biases)
    texts, history = told(still(), Monitor(PROBE), change, len(scales or biases))
    assert len(texts) == (since is not None)
    if since:
        assert f"Layer 'watched' has collapsed since epoch {since}:" in texts[0]
    assert np.isfinite(history["watched_scale"]).all()


@pytest.mark.one_backend
def test_the_warning_says_what_was_measured():
    change = Changed([1, 0.1, 0.1, 0.1], [off()] + [off(1)] * 3)
    (text,), history = told(still(), Monitor(PROBE), change, 4)
    last = history["watched_scale"][-1]
    assert f"({last:.1%}); 25% of the neurons have died since, 25% are" in text
    assert "in epoch 1 and is" in text
    (text,), _ = told(still(), Monitor(PROBE), Changed(SMALL, HALF_DEAD), 3)
    assert "before training and is" in text
    assert "50% of the neurons have died since, 50% are" in text


ADVICE = {
    "l2e": (
        lambda: km.layers.MonosemanticPenalty(0.003, form="l2e", name="watched"),
        'Lower its `weight` (now 0.003), or make it with `form="relative"`',
    ),
    "phi": (
        lambda: km.layers.MonosemanticPenalty(0.5, form="phi", name="watched"),
        "Lower its `weight` (now 0.5).",
    ),
    "inhibition": (
        lambda: km.layers.MonosemanticInhibition(strength=5.0, name="watched"),
        'Lower its `strength` (now 5), or make it with `gradient="scale_invariant"`',
    ),
    "scale-invariant inhibition": (
        lambda: km.layers.MonosemanticInhibition(
            gradient="scale_invariant", name="watched"
        ),
        "Lower its `strength` (now 1).",
    ),
    "scale": (lambda: km.layers.MonosemanticScale(name="watched"), "inhibits nothing"),
    "another": (lambda: keras.layers.Dropout(0.1, name="watched"), "inhibits nothing"),
}


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ADVICE)
def test_the_warning_says_what_to_do(kind):
    make, advice = ADVICE[kind]
    monitor = Monitor(PROBE, layers=["watched"])
    (text,), _ = told(still(make()), monitor, Changed([1, 0.1, 0.1, 0.1]), 4)
    assert advice in text
    assert "lower learning rate, or a normalization before the layer" in text


@pytest.mark.one_backend
def test_dead_from_before_training_is_not_told_of():
    model = still()
    model.get_layer("hidden").bias.assign(off(0, 1, 2, 3))
    change = Changed(biases=[off(0, 1, 2, 3)] * 3 + [off(1)] * 2)
    texts, history = told(model, Monitor(PROBE), change, 5)
    assert not texts
    assert history["watched_dead"] == [1.0, 1.0, 1.0, 0.25, 0.25]
    # Relative to the first measurement in which something varies.
    assert history["watched_scale"] == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.one_backend
def test_callbacks_can_use_a_scale_that_begins_at_0(tmp_path):
    model = still()
    model.get_layer("hidden").bias.assign(off(0, 1, 2, 3))
    change = Changed(biases=[off(0, 1, 2, 3)] + [off()] * 2)
    path = tmp_path / "best.weights.h5"
    keep = keras.callbacks.ModelCheckpoint(
        path, "watched_scale", mode="max", save_best_only=True, save_weights_only=True
    )
    told(model, Monitor(PROBE), change, 3, keep)
    assert keep.best == 1.0
    assert path.exists()


@pytest.mark.one_backend
def test_once_a_layer_and_fit():
    model, monitor = still(), Monitor(PROBE, layers=["hidden", "watched"])
    for _ in range(2):
        model.get_layer("hidden").kernel.assign(np.ones((6, 4)))
        change = Changed([1, 0.1, 0.1, 0.1, 1, 0.1, 0.1, 0.1])
        texts, _ = told(model, monitor, change, 8)
        assert [text.split("'")[1] for text in texts] == ["hidden", "watched"]
    twin, texts = copy.deepcopy(monitor), []
    texts, _ = told(model, twin, Changed([0.1] * 4), 4)  # it begins anew
    assert not texts


@pytest.mark.one_backend
def test_by_batch_and_between_measurements():
    change = Changed([1, 0.1, 0.1, 0.1, 0.1])
    (text,), _ = told(still(), Monitor(PROBE, unit="batch", every=8), change, 5)
    assert "has collapsed since batch 9: " in text
    assert "in batch 1 and is" in text
    change = Changed([1, 1, 0.1, 1, 0.1, 1, 0.1])
    (text,), _ = told(still(), Monitor(PROBE, every=2), change, 7)
    assert "since epoch 3: " in text


@pytest.mark.one_backend
@pytest.mark.parametrize("dead", [(), (0, 1)])
def test_plot(dead):
    monitor = Monitor(PROBE)
    told(still(), monitor, Changed([1, 2, 3], [off(*dead)] * 3), 3)
    lines = {axes.get_title(): axes.get_lines() for axes in monitor.plot().axes}
    (scale,) = lines["Scale of the neurons"]
    np.testing.assert_allclose(scale.get_ydata(), [1, 2, 3], rtol=1e-5)
    assert ("Dead neurons" in lines) == bool(dead)
    if dead:
        np.testing.assert_allclose(lines["Dead neurons"][0].get_ydata(), 50.0)


@pytest.mark.one_backend
def test_without_data_nothing_is_told():
    layer = km.layers.MonosemanticPenalty(0.003, name="watched")
    texts, history = told(still(layer), Monitor(), Changed([1] + [1e-3] * 4), 5)
    assert not texts
    assert not {"watched_scale", "watched_dead"} & set(history)


def trained(weight, rate, epochs):
    """A network without normalization on a task that it can learn."""
    keras.utils.set_random_seed(1)
    penalty = km.layers.MonosemanticPenalty(
        weight, form="l2e", name="penalty", start_step=2
    )
    layers = [keras.layers.Dense(24, "relu"), keras.layers.Dense(24, "relu"), penalty]
    optimizer = keras.optimizers.Adam(rate)
    model = small.chain((6,), *layers, keras.layers.Dense(1), optimizer=optimizer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = np.abs(X[:, :1]) - X[:, 1:2]
        history = small.fit(model, X, y, Monitor(PROBE), epochs=epochs).history
    texts = [str(w.message) for w in caught]
    return [text for text in texts if "has collapsed since" in text], history


@pytest.mark.one_backend
def test_a_training_that_the_penalty_ruins_is_told_of_before_its_half():
    texts, history = trained(3.0, 0.03, 30)
    assert len(texts) == 1
    assert "Layer 'penalty' has collapsed since epoch" in texts[0]
    assert int(texts[0].split("since epoch ")[1].split(":")[0]) + 2 <= 15
    assert history["penalty_scale"][-1] < 0.2


@pytest.mark.one_backend
def test_a_training_that_learns_is_not_told_of():
    texts, history = trained(1e-4, 0.03, 30)
    assert not texts
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert not math.isnan(history["penalty_scale"][-1])
