"""Models that somebody has, to put layers into."""

import keras
import numpy as np

import keras_mono as km

INHIBITION = km.layers.MonosemanticInhibition
LAYER = INHIBITION(axis=-1, start_step=2)


def data(seed=0, n=24, features=8):
    return np.random.default_rng(seed).normal(size=(n, features)).astype("float32")


def dense(units, name, **arguments):
    return keras.layers.Dense(units, name=name, **arguments)


def functional():
    """Two inputs, two outputs, a shared layer, a nested model and a Sequential."""
    inner = keras.Sequential(
        [keras.Input((6,)), dense(6, "a"), dense(6, "b")], name="chain"
    )
    z = keras.Input((6,), name="z")
    nested = keras.Model(z, dense(6, "deep", activation="relu")(z), name="nested")
    one, two = keras.Input((8,), name="one"), keras.Input((8,), name="two")
    shared = dense(6, "shared", activation="relu")
    x = keras.layers.Add(name="sum")([shared(one), shared(two)])
    x = nested(inner(x))
    outputs = {"left": dense(1, "left")(x), "right": dense(2, "right")(x)}
    return keras.Model({"one": one, "two": two}, outputs, name="whole")


def sequential():
    layers = [dense(8, f"block_{i}", activation="relu") for i in range(4)]
    return keras.Sequential(
        [keras.Input((8,)), *layers, dense(2, "head")], name="chain"
    )


def predict(model, x):
    return keras.tree.flatten(model.predict(x, verbose=0))


def same(a, b):
    return all(
        (np.asarray(p) == np.asarray(q)).all() for p, q in zip(a, b, strict=True)
    )


def names(model):
    return [x.name for x in model.layers]


def ours(model):
    return [row["layer"] for row in km.status(model)]


CASES = {
    "functional": (
        functional,
        {"one": data(1), "two": data(2)},
        ["shared", "deep", "b"],
    ),
    "sequential": (sequential, data(), "block_[12]"),
}


class Counting(keras.Model):
    """A functional model with a constructor and a training step of its own."""

    def __init__(self, units, **arguments):
        inputs = keras.Input((8,))
        hidden = dense(units, "hidden", activation="relu")
        super().__init__(inputs, dense(1, "out")(hidden(inputs)), **arguments)
        self.hidden = hidden
        self.units = units

    def describe(self):
        return f"{self.units} units after {self.hidden.name}"
