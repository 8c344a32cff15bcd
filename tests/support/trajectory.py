"""Two small networks on handwritten digits, and what 20 steps of `fit` make of them.

    KERAS_BACKEND=jax PYTHONPATH=.:tests python -m support.trajectory

writes tests/data/trajectory.npz anew, on any backend: after a change of what is saved,
or of the method itself.

Data and first weights are the same on every backend and machine: scikit-learn's digits,
and NumPy's `RandomState`, whose numbers never change.
"""

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_mono as km

FILE = Path(__file__).resolve().parents[1] / "data" / "trajectory.npz"
NETWORKS = ("dense", "positions")
BATCH = 64
STEPS = 20
STOPS = 4  # `fit` is looked at after each quarter of the steps
START_STEP = 2
LEARNING_RATE = 0.05


def make(network, k, start_step=START_STEP, **options):
    """A compiled model: `dense` selects by sample, `positions` by row of the image."""
    dense = network == "dense"
    inhibition = km.layers.MonosemanticInhibition(
        select=km.selectors.TopK(k, per="sample" if dense else "position"),
        axis=None if dense else -1,
        start_step=start_step,
        name="inhibition",
        **options,
    )
    hidden = keras.layers.Dense(256 if dense else 128, activation="relu", name="hidden")
    pooling = [] if dense else [keras.layers.GlobalAveragePooling1D()]
    model = keras.Sequential(
        [
            keras.Input((64,) if dense else (8, 8)),
            hidden,
            inhibition,
            *pooling,
            keras.layers.Dense(10, name="classes"),
        ],
        name=network,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(LEARNING_RATE), loss)
    random = np.random.RandomState(0)
    for variable in model.trainable_variables:
        if len(variable.shape) == 2:
            limit = np.sqrt(6 / sum(variable.shape))
            variable.assign(random.uniform(-limit, limit, variable.shape))
    return model


def digits(network):
    """Inputs and classes of `STEPS` batches, and inputs of one batch to test on."""
    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(x))
    x, y = (x[order] / 16).astype("float32"), y[order].astype("int32")
    if network == "positions":  # an image as a sequence of its 8 rows
        x = x.reshape(-1, 8, 8)
    trained = STEPS * BATCH
    return x[:trained], y[:trained], x[trained : trained + BATCH]


def fit(network, **options):
    """What `fit` arrives at, k = 1: arrays by name."""
    model = make(network, k=1, **options)
    x, y, x_test = digits(network)
    found = {}
    parts = zip(np.split(x, STOPS), np.split(y, STOPS), strict=True)
    for part, (some_x, some_y) in enumerate(parts, 1):
        model.fit(some_x, some_y, batch_size=BATCH, shuffle=False, verbose=0)
        after = f"{network}/after {part * STEPS // STOPS}"
        for name, value in statistics(model).items():
            found[f"{after}/{name}"] = value
        found[f"{after}/outputs"] = model.predict(x_test, verbose=0)
    return found | weights(model)


def statistics(model):
    """What the layer saves.

    The mean is kept in two parts, the second being the rounding error of the first:
    only their sum can agree.
    """
    layer = model.get_layer("inhibition")
    found = {
        v.name: keras.ops.convert_to_numpy(v).astype("float64")
        for v in layer.saved_variables()
    }
    for name in [name for name in found if name.startswith("mean_")]:
        found["mean"] += found.pop(name)
    return {name: value for name, value in found.items() if value.size}


def weights(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}


def selected(model, x):
    """Which activations the layer replaces in training: those that it changes.

    Moves the layer's state. An activation that equals its mean has φ = 0 and is never
    selected, so that a selected one always changes.
    """
    z = model.get_layer("hidden")(x)
    out = model.get_layer("inhibition")(z, training=True)
    return keras.ops.convert_to_numpy(out != z)


if __name__ == "__main__":
    arrays = {name: v for network in NETWORKS for name, v in fit(network).items()}
    np.savez_compressed(FILE, **{n: v.astype("float32") for n, v in arrays.items()})
    print(f"wrote {FILE}: {len(arrays)} arrays, {FILE.stat().st_size / 1024:.0f} KiB")
