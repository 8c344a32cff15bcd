"""L2E's claim: the penalty makes the neurons of its layer less monosemantic.

Predicted before any run: over paired seeds it lowers the mean of the 2 % largest φ of
held-out activations, taken against those activations' own mean and variance, so that
shrinking all activations does not count. examples/penalty_study.py shows more weights,
and what happens in the layer below.
"""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_mono as km

SEEDS, EPOCHS, FRACTION, WEIGHT = 5, 20, 0.02, 0.03


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype("float32"), y[order]
    return x[:1024], y[:1024], x[1024:], y[1024:]


def network():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            km.layers.MonosemanticPenalty(name="penalty"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def trained(model, first, weight, seed, digits):
    """Tail of φ, scale of the activations, and accuracy, on what was held out."""
    x, y, x_test, y_test = digits
    for variable, value in zip(model.trainable_variables, first, strict=True):
        variable.assign(value)
    layer = model.get_layer("penalty")
    layer.reset()
    layer.weight = weight
    keras.utils.set_random_seed(seed)
    model.fit(x, y, batch_size=64, epochs=EPOCHS, verbose=0)
    z = km.analysis.activations(model, x_test, ["penalty"])["penalty"].astype("float64")
    accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
    return tail(z), z.std(axis=0).mean(), accuracy


def tail(z):
    variance = z.var(axis=0, ddof=1)
    phi = (z - z.mean(axis=0)) ** 2 / (variance + 0.01 * variance.mean())
    return np.sort(phi, axis=None)[-round(FRACTION * phi.size) :].mean()


def test_the_penalty_lowers_the_tail_of_its_layer(digits):
    model = network()  # one, for it is compiled once; SGD keeps nothing
    plain, penalized = [], []
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        first = [keras.ops.convert_to_numpy(v) for v in network().trainable_variables]
        plain.append(trained(model, first, 0.0, seed, digits))
        penalized.append(trained(model, first, WEIGHT, seed, digits))
    plain, penalized = np.array(plain), np.array(penalized)
    change = penalized - plain
    t = change.mean(0) / (change.std(0, ddof=1) / np.sqrt(SEEDS))
    for i, figure in enumerate(["tail of φ", "scale", "accuracy"]):
        print(
            f"{figure}: plain {plain[:, i].mean():.3f}, penalty "
            f"{penalized[:, i].mean():.3f}, change {change[:, i].mean():+.3f}, "
            f"t = {t[i]:.1f} over {SEEDS} seeds"
        )
    assert t[0] < -3
    assert (change[:, 0] < 0).all()
    assert plain[:, 2].min() > 0.9
