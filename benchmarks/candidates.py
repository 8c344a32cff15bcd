"""The layers that are compared."""

import importlib.util
import math
from collections.abc import Callable

import keras
import numpy as np
from steps import Step

import keras_mono as km

OURS = "MonosemanticInhibition"
BATCH_NORMALIZATION = "BatchNormalization"
AUTHORS = "authors' EmeL"
COPY = "copy"
EXTRAS = ("ours, axis=-1", "ours, select=50")
BASES = (BATCH_NORMALIZATION, COPY, AUTHORS)


class Identity(keras.layers.Layer):
    """Passes its input on; keras.layers.Identity refuses `training`."""

    def call(self, inputs, training=None):  # noqa: ARG002
        return inputs


class Copy(keras.layers.Layer):
    """One pass forward and one backward: a product with a number no compiler knows."""

    def build(self, _input_shape: tuple) -> None:
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, inputs, training=None):  # noqa: ARG002
        return inputs * self.factor


def layers(
    shape: tuple, reference: str | None, extras: bool
) -> dict[str, Callable[[], Callable]]:
    """Name to a function that makes the layer anew."""
    inhibition = km.layers.MonosemanticInhibition
    chosen: dict[str, Callable[[], Callable]] = {
        "identity": Identity,
        COPY: Copy,
        "Dropout": lambda: keras.layers.Dropout(0.1, seed=0),
        BATCH_NORMALIZATION: keras.layers.BatchNormalization,
        OURS: inhibition,
    }
    if reference:
        chosen[AUTHORS] = lambda: authors_module(reference)
    if extras:
        k = min(50, math.prod(shape[1:]))
        chosen[EXTRAS[0]] = lambda: inhibition(axis=-1)
        chosen[EXTRAS[1]] = lambda: inhibition(select=k)
    return chosen


def authors_module(path: str) -> Callable:
    if keras.backend.backend() != "torch":
        raise SystemExit("--reference is a PyTorch module: set KERAS_BACKEND=torch.")
    spec = importlib.util.spec_from_file_location("authors_emel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EmeL().train()


def check_that_it_worked(name: str, step: Step, x, dy) -> None:
    """Stop if what was timed did not inhibit, or its state did not move."""
    inhibits = name in (OURS, AUTHORS, *EXTRAS)
    if not inhibits:
        return
    calls = step.calls
    y, dx = (keras.ops.convert_to_numpy(t) for t in step(x, dy, keep=True))
    x, dy = (keras.ops.convert_to_numpy(t) for t in (x, dy))
    reversed_ = (y != x) & np.isclose(dx, -dy)
    kept = (y == x) & (dx == dy)
    some_of_each_sample = reversed_.reshape(len(x), -1).any(axis=1)
    if not (some_of_each_sample.all() and (reversed_ | kept).all()):
        raise SystemExit(f"{name} at {x.shape} did not inhibit as it should.")
    if name != AUTHORS and step.state("step") != calls + 1:
        raise SystemExit(f"{name} lost state: {step.state('step')} of {calls + 1}.")
