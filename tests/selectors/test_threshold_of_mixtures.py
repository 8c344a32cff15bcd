"""The moving threshold on streams whose batches are not all of one kind.

And on those where a batch rarely holds anything to select. The share of the whole
stream is the fraction, within 15 %.
"""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.compiled import compiled
from support.small import mostly_one_backend
from support.training import numbers

STEPS = 250  # in one call


def shares(batches, fraction):
    """Of each batch, what the threshold selects of it."""
    selector = km.selectors.MovingThreshold(fraction)
    counted = keras.ops.convert_to_tensor(np.float32(batches[0].size))
    at = selector.state_names.index("selected_fraction")

    def step(state, phi):
        _, state = selector.update(phi, counted, state)
        return state, state * 1.0  # Keras on TensorFlow stacks nothing of another shape

    several = compiled(lambda state, some: keras.ops.scan(step, state, some))
    state = keras.ops.zeros(len(selector.state_names))
    found = []
    for i in range(0, len(batches), STEPS):
        some = keras.ops.convert_to_tensor(batches[i : i + STEPS])
        state, states = several(state, some)
        found.append(numbers(states)[:, at])
    return np.concatenate(found)


def normal(scales, size, seed=1):
    """φ of batches that differ in scale only."""
    z = np.random.default_rng(seed).normal(size=(len(scales), size))
    return ((scales[:, None] * z) ** 2).astype("float32")


def relu(steps, size, zeros):
    """φ of activations of which a share is 0."""
    random = np.random.default_rng(2)
    z = np.abs(random.normal(size=(steps, size)))
    z = np.where(random.random((steps, size)) < zeros, 0.0, z)
    return ((z - z.mean()) ** 2 / z.var()).astype("float32")


def lognormal(steps):
    return np.random.default_rng(3).lognormal(0.0, 0.6, steps)


def every(steps, period, scale):
    return np.where(np.arange(steps) % period == period - 1, scale, 1.0)


MIXTURES = {
    "every 10th of scale 3": (lambda: normal(every(1500, 10, 3.0), 1024), 0.02),
    "every 100th of scale 100": (lambda: normal(every(2000, 100, 100.0), 512), 0.02),
    "lognormal scales": (lambda: normal(lognormal(2500), 1024), 0.02),
    "lognormal scales, small": (lambda: normal(lognormal(4000), 128), 0.01),
    "scales 1 and 3 in turn": (lambda: normal(every(750, 2, 3.0), 8192), 0.02),
    "scales 1 and 3, rarely selected": (
        lambda: normal(every(20000, 2, 3.0), 1024),
        1e-4,
    ),
    "99 % zeros": (lambda: relu(6000, 64, 0.99), 0.005),
    "90 % zeros, a handful": (lambda: relu(20000, 10, 0.9), 0.001),
    "20 of scale 1, 20 of scale 3": (
        lambda: normal(1.0 + 2.0 * (np.arange(1000) // 20 % 2), 512),
        0.02,
    ),
}


@pytest.mark.parametrize(
    "name",
    mostly_one_backend(
        MIXTURES, "every 10th of scale 3", "99 % zeros", "scales 1 and 3 in turn"
    ),
)
def test_the_share_of_the_stream_is_the_fraction(name):
    batches, fraction = MIXTURES[name]
    found = shares(batches(), fraction)[200:]
    assert 0.85 * fraction < found.mean() < 1.15 * fraction
