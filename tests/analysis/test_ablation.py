"""Ablation of neurons whose part in the output is known."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted

ablation = km.analysis.ablation


def planted_model():
    """Its layer "neurons" gives what was planted; the output tells the feature.

    Feature i is answered with neuron i alone, but the last one with none.
    """
    n = len(planted.TRUTH)
    model = keras.Sequential(
        [
            keras.Input((n,)),
            keras.layers.Dense(n, name="neurons"),
            keras.layers.Dense(4, name="out"),
        ]
    )
    own = {"perl": 0, "lisp": 1, "c": 2}
    answer = np.zeros((n, 4))
    for number, feature in enumerate(planted.FEATURES):
        if feature in own:
            answer[own[feature], number] = 5.0
    bias = np.where(np.isin(planted.FEATURES, list(own)), -5.0, 0.0)
    model.set_weights([np.eye(n), np.zeros(n), answer, bias])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model


def data():
    z, labels = planted.activations()
    return z.astype("float32"), np.searchsorted(planted.FEATURES, labels), labels


def test_the_loss_rises_where_the_neuron_was_needed():
    x, y, labels = data()
    found = ablation(planted_model(), "neurons", range(7), x, y, labels)
    assert found.features.tolist() == list(planted.FEATURES)
    assert found.increase.shape == (4, 7)
    for neuron, feature in {0: "perl", 1: "lisp", 2: "c"}.items():
        number = planted.FEATURES.index(feature)
        assert found.increase[:, neuron].argmax() == number
        assert found.increase[number, neuron] > 1.5
    unused = [3, 4, 5, 6]
    np.testing.assert_allclose(found.increase[:, unused], 0, atol=1e-6)


@pytest.mark.one_backend
@pytest.mark.parametrize("absent", [None, "lisp", "perl"])
def test_planted_truth_is_ranked_without_an_error(absent):
    """The output is the sum of all neurons: every one is needed where it is active."""
    n = len(planted.TRUTH)
    model = keras.Sequential(
        [
            keras.Input((n,)),
            keras.layers.Dense(n, name="neurons"),
            keras.layers.Dense(1),
        ]
    )
    model.set_weights([np.eye(n), np.zeros(n), np.ones((n, 1)), np.zeros(1)])
    x, _, labels = data()
    here = labels != absent
    x, labels = x[here], labels[here]
    y = x.sum(axis=1, keepdims=True)
    found = ablation(model, "neurons", range(n), x, y, labels, loss="mse")
    np.testing.assert_allclose(found.loss, 0, atol=1e-8)
    exclusive = {}
    for neuron, increase in enumerate(found.increase.T):
        features = set(planted.TRUTH[neuron]) - {absent}
        order = np.argsort(-increase)
        named = {str(f) for f in found.features[order[: len(features)]]}
        if 0 < len(features) < len(found.features) - 1:
            assert named == features
        exclusive[neuron] = increase[order[0]] / increase[order[1]]
    mono = [n for n, f in planted.TRUTH.items() if len(set(f) - {absent}) == 1]
    silent = [n for n, f in planted.TRUTH.items() if not set(f) - {absent}]
    others = set(exclusive) - set(mono)
    assert min(exclusive[n] for n in mono) > max(exclusive[n] for n in others)
    assert found.increase[:, silent].max() < 0.05


def test_it_equals_a_model_without_the_neuron():
    x, y, labels = data()
    model = planted_model()
    found = ablation(model, "neurons", [2, 0], x, y, labels, batch_size=64)
    for column, neuron in enumerate([2, 0]):
        changed = x.copy()
        changed[:, neuron] = x[:, neuron].mean()
        logits = model.predict(changed, verbose=0).astype("float64")
        plain = model.predict(x, verbose=0).astype("float64")

        def cross_entropy(z):
            rest = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1)
            return rest - z[np.arange(len(z)), y]

        for number, feature in enumerate(planted.FEATURES):
            here = labels == feature
            before = cross_entropy(plain)[here].mean()
            after = cross_entropy(logits)[here].mean()
            np.testing.assert_allclose(found.loss[number], before, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(
                found.increase[number, column], after - before, rtol=1e-4, atol=1e-5
            )


def test_the_model_is_as_before():
    x, y, labels = data()
    model = planted_model()
    before = model.predict(x, verbose=0)
    ablation(model, "neurons", [0], x, y, labels)
    with pytest.raises(ZeroDivisionError):
        ablation(model, "neurons", [0], x, y, labels, loss=lambda *_: 1 / 0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()])
def test_positions_and_other_losses(loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3, 4)).astype("float32")
    inputs = keras.Input((3, 4))
    hidden = keras.layers.Dense(2, name="hidden")(inputs)
    inhibited = km.layers.MonosemanticInhibition(axis=-1, name="ours")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1)(inhibited))
    y = model.predict(x, verbose=0)
    labels = rng.integers(2, size=20)
    both = [
        ablation(model, at, [0, 1], x, y, labels, loss) for at in ("hidden", "ours")
    ]
    np.testing.assert_allclose(both[0].increase, both[1].increase, rtol=1e-5)
    np.testing.assert_allclose(both[0].loss, 0, atol=1e-10)
    assert (both[0].increase > 0).all()
    assert set(both[0].to_frame().columns) == {"neuron", "feature", "loss", "increase"}


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neurons": [7]}, "neurons 0 to 6.*Received: .7"),
        ({"neurons": [-1]}, "neurons 0 to 6"),
        ({"neurons": []}, "must list numbers"),
        ({"neurons": [0.5]}, "must list numbers"),
        ({"labels": ["a"]}, "one entry per sample"),
        ({"layer": "nowhere"}, "neurons"),
        ({"loss": 3}, "one Keras loss"),
    ],
)
def test_bad_input(change, message):
    x, y, labels = data()
    arguments = {"layer": "neurons", "neurons": [0], "labels": labels, **change}
    with pytest.raises(ValueError, match=message):
        ablation(planted_model(), x=x, y=y, **arguments)


def test_a_model_without_a_loss():
    x, y, labels = data()
    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(4, name="a")])
    with pytest.raises(ValueError, match="not compiled"):
        ablation(model, "a", [0], x, y, labels)
