"""A penalty layer that a model calls twice adds what both calls penalize."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

WEIGHT = 0.5
LAYER = {"axis": -1, "forget_steps": None, "start_step": 1}


def penalty_layer():
    select = km.selectors.TopK(6)
    return km.layers.MonosemanticPenalty(WEIGHT, select, form="l2e", **LAYER)


def shared_layer():
    inputs, below, layer = keras.Input((4,)), keras.layers.Dense(6), penalty_layer()
    a, b = layer(below(inputs)), layer(below(2.0 * inputs))
    return keras.Model(inputs, keras.layers.Dense(1)(a + b)), below, layer


def shared_block():
    below, layer = keras.layers.Dense(6), penalty_layer()
    block = keras.Sequential([keras.Input((4,)), below, layer])
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1)(block(inputs) + block(2.0 * inputs))
    return keras.Model(inputs, outputs), below, layer


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.below, self.layer = keras.layers.Dense(6), penalty_layer()
        self.above = keras.layers.Dense(1)

    def call(self, x, training=None):
        a = self.layer(self.below(x), training=training)
        return self.above(a + self.layer(self.below(2.0 * x), training=training))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    return model, model.below, model.layer


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("make", [shared_layer, shared_block, subclassed])
def test_both_calls_are_in_the_loss(make, run_eagerly):
    model, below, layer = make()
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=run_eagerly)
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    y = model.predict(x, verbose=0)  # the rest of the loss is 0
    a = x.astype("float64") @ numbers(below.kernel)
    seen, added = [], []
    for _ in range(3):
        loss = model.train_on_batch(x, y)
        added = []
        for z in (a, 2.0 * a):
            if seen:
                mean = np.concatenate(seen).mean(0)
                added.append(WEIGHT * np.log((z - mean) ** 2).mean())
            seen.append(z)
        assert float(loss) == pytest.approx(sum(added), rel=1e-4, abs=1e-5)
    assert len(added) == 2
    assert layer.penalty == pytest.approx(added[-1], rel=1e-4)
    assert int(numbers(layer.step)) == 6


def test_a_layer_called_alone_shows_its_latest_penalty():
    layer = penalty_layer()
    z = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    for _ in range(3):
        layer(z, training=True)
        assert len(layer.losses) == 1


def test_stateless_calls_have_their_own_losses():
    model, _, _ = shared_layer()
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    trainable = [v.value for v in model.trainable_variables]
    state = [v.value for v in model.non_trainable_variables]
    for _ in range(3):
        _, state, losses = model.stateless_call(
            trainable, state, x, training=True, return_losses=True
        )
        assert len(losses) == 2
