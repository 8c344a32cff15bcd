"""The two networks on which backends are compared, their data, and their values.

Weights and data come from the leader as files, so that nothing depends on a backend's
own initialisation or random numbers.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import keras_mono as km

STEPS = 20
BATCH = 64
START_STEP = 2
LEARNING_RATE = 0.05
HIDDEN, INHIBITION = "hidden", "inhibition"
NETWORKS = ("dense", "positions")

Arrays = dict[str, Any]  # of NumPy arrays


def make(network: str, k: int, start_step: int = START_STEP) -> Any:
    """A compiled model on digits: `dense` selects by sample, `positions` by row."""
    select = km.selectors.TopK(k, per="sample" if network == "dense" else "position")
    inhibition = km.layers.MonosemanticInhibition(
        select=select,
        axis=None if network == "dense" else -1,
        start_step=start_step,
        name=INHIBITION,
    )
    first = keras.layers.Dense(
        256 if network == "dense" else 128, activation="relu", name=HIDDEN
    )
    last = keras.layers.Dense(10, name="classes")
    if network == "dense":
        layers = [keras.Input((64,)), first, inhibition, last]
    else:  # an image as a sequence of its 8 rows
        pooling = keras.layers.GlobalAveragePooling1D()
        layers = [keras.Input((8, 8)), first, inhibition, pooling, last]
    model = keras.Sequential(layers, name=network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(LEARNING_RATE), loss)
    return model


def digits(network: str) -> Arrays:
    """Handwritten digits in a fixed order: `STEPS` batches, and one to test on."""
    # scikit-learn is no dependency of the type checker's environment.
    from sklearn.datasets import load_digits  # type: ignore[import-not-found]

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x = (data.data[order] / 16).astype("float32")
    if network == "positions":
        x = x.reshape(-1, 8, 8)
    y = data.target[order].astype("int32")
    trained = STEPS * BATCH
    return {
        "x": x[:trained],
        "y": y[:trained],
        "x_test": x[trained : trained + BATCH],
    }


def values(model: Any) -> Arrays:
    """All weights of a model and all state of its layers, as `layer/variable`."""
    return {name: keras.ops.convert_to_numpy(v) for name, v in _variables(model)}


def restore(model: Any, saved: Arrays) -> None:
    """Give a model the values that another one had, on whatever backend."""
    own = dict(_variables(model))
    if set(own) != set(saved):
        raise ValueError(f"Expected the variables {set(own)}. Received: {set(saved)}.")
    for name, variable in own.items():
        variable.assign(saved[name])


def statistics_and_weights(model: Any) -> tuple[Arrays, Arrays]:
    """What the layer has learnt of its neurons, and what the optimizer has trained.

    A mean is stored in two parts, of which the second is the rounding error of the
    first: only their sum can agree.
    """
    found = values(model)
    mine = f"{INHIBITION}/"
    statistics = {
        name.removeprefix(mine): v for name, v in found.items() if name.startswith(mine)
    }
    statistics["mean"] = statistics["mean"].astype("float64")
    statistics["mean"] += statistics.pop("mean_compensation")
    return statistics, {
        name: v for name, v in found.items() if not name.startswith(mine)
    }


def _variables(model: Any) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        for variable in layer.weights:
            yield f"{layer.name}/{variable.name}", variable
