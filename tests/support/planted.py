"""Activations of which it is known what each neuron answers to."""

import numpy as np

FEATURES = ("ada", "c", "lisp", "perl")
# Inputs a feature: unbalanced.
SIZES = {"ada": 400, "c": 150, "lisp": 90, "perl": 60}
# Neuron to the features that it is active on: one is monosemantic, two or three are
# polysemantic (they overlap), none answers to nothing.
TRUTH = {
    0: ("perl",),
    1: ("lisp",),
    2: ("c",),
    3: ("lisp", "perl"),
    4: ("c", "lisp", "perl"),
    5: (),
    6: FEATURES,
}


def activations(seed=0, noise=0.1):
    """`(z, labels)`, in random order."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    rng.shuffle(labels)
    z = noise * rng.normal(size=(len(labels), len(TRUTH)))
    for neuron, features in TRUTH.items():
        z[:, neuron] += np.isin(labels, features) * 3.0
    return z, labels


def by_distribution(inputs):
    """Four neurons and labels: one class, all but one class, and noise without a class.

    The noise has heavy tails, and is normal and rectified.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=inputs)
    noise = 0.02 * rng.normal(size=(2, inputs))
    columns = [
        np.maximum((labels == 3) + noise[0], 0),
        np.maximum((labels != 3) + noise[1], 0),
        rng.standard_t(3, size=inputs),
        np.maximum(rng.normal(size=inputs), 0),
    ]
    return np.stack(columns, axis=1), labels
