"""The penalties' claims: they make the neurons of their layer less monosemantic.

Predicted before any run, over paired seeds and on held-out activations: L2E's form
lowers the mean of the 2 % largest φ, taken against those activations' own mean and
variance, so that shrinking all activations does not count. The scale-invariant form
does so too, lowers class selectivity, and leaves the scale. studies/penalty_study.py
shows more weights of L2E's form, and what happens in the layer below.
"""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_mono as km

pytestmark = pytest.mark.one_backend

SEEDS, EPOCHS, FRACTION = 5, 20, 0.02
WEIGHTS = {"l2e": 0.03, "phi": 0.01}
FIGURES = ["tail of φ", "scale", "accuracy", "class selectivity"]


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype("float32"), y[order]
    return x[:1024], y[:1024], x[1024:], y[1024:]


def network(form):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            km.layers.MonosemanticPenalty(form=form, name="penalty"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def trained(model, first, weight, seed, digits):
    """`FIGURES` on what was held out."""
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
    selectivity = km.analysis.measures(z, y_test).class_selectivity
    return tail(z), z.std(axis=0).mean(), accuracy, np.nanmean(selectivity)


def tail(z):
    variance = z.var(axis=0, ddof=1)
    phi = (z - z.mean(axis=0)) ** 2 / (variance + 0.01 * variance.mean())
    return np.sort(phi, axis=None)[-round(FRACTION * phi.size) :].mean()


def of_seeds(form, weight, digits):
    """One row of figures per seed; one model, compiled once: SGD keeps nothing."""
    model, rows = network(form), []
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        start = network(form).trainable_variables
        first = [keras.ops.convert_to_numpy(v) for v in start]
        rows.append(trained(model, first, weight, seed, digits))
    return np.array(rows)


@pytest.fixture(scope="module")
def plain(digits):
    return of_seeds("l2e", 0.0, digits)


@pytest.mark.slow
@pytest.mark.parametrize("form", WEIGHTS)
def test_the_penalty_lowers_the_tail_of_its_layer(form, plain, digits):
    change = of_seeds(form, WEIGHTS[form], digits) - plain
    error = change.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    t = dict(zip(FIGURES, change.mean(axis=0) / error, strict=True))
    for i, figure in enumerate(FIGURES):
        print(
            f"{form}, {figure}: plain {plain[:, i].mean():.3f}, change "
            f"{change[:, i].mean():+.3f}, t = {t[figure]:.1f} over {SEEDS} seeds"
        )
    assert t["tail of φ"] < -3
    assert (change[:, 0] < 0).all()
    assert plain[:, 2].min() > 0.9
    if form == "phi":
        assert t["class selectivity"] < -3
        assert change[:, 1].mean() > -0.05 * plain[:, 1].mean()
