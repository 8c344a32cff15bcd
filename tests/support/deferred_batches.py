"""Global batches for layers that reduce over replicas at every n-th batch."""

import numpy as np

import keras_mono as km

RANKS, EVERY = 2, (1, 2, 5)
FRACTION, DRIFT, ROWS, STEPS = 0.05, 0.02, 60, 800
KINDS = {
    "scale": lambda axis, start_step: km.layers.MonosemanticScale(axis=axis),  # noqa: ARG005
    "top-k": lambda **options: km.layers.MonosemanticInhibition(1, **options),
    "threshold": lambda **options: km.layers.MonosemanticInhibition(0.1, **options),
    "penalty": lambda **options: km.layers.MonosemanticPenalty(
        select=1, form="l2e", **options
    ),
}


def hard():
    """Far from 0, with NaN, of several sizes, down to one row."""
    random = np.random.default_rng(4)
    for step in range(23):
        rows = 1 if step in (7, 12) else 30 - step % 4
        x = random.normal(100.0 + step, size=(rows, 4)).astype("float32")
        if step % 3 == 1:
            x[-1, 2] = np.nan
        yield x


def drifting(by, steps, units=4):
    """Standard normal values around a mean that moves by so much a batch."""
    random = np.random.default_rng(5)
    for step in range(steps):
        x = random.normal(step * by, size=(ROWS, units))
        yield x.astype("float32")


def of_two_kinds():
    """Batches of large and of small values, in turns."""
    random = np.random.default_rng(6)
    for step in range(STEPS):
        x = random.normal(scale=1.0 if step % 2 else 0.5, size=(ROWS, 16))
        yield x.astype("float32")
