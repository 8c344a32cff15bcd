"""Handwritten digits, and patches of photographs, both 8 x 8 and grey."""

from functools import cache

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

from evidence.setting import Part, Split


@cache
def _digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = (x / 16).astype("float32").reshape(-1, 8, 8, 1)
    return x[order], y[order].astype("int32")


def digits(seed: int, train: int = 384) -> Split:
    """608 test and 288 validation images for all; the seed draws `train` others."""
    x, y = _digits()
    chosen = 896 + np.random.default_rng(seed).permutation(len(x) - 896)[:train]
    parts = (chosen, slice(608, 896), slice(608))
    return Split(*(Part(x[rows], y[rows]) for rows in parts))


@cache
def _photographs():
    """Grey values of scikit-learn's two photographs, 0 to 1."""
    images = load_sample_images().images
    return [(image.mean(axis=2) / 255).astype("float32") for image in images]


def placed_patches(seed: int, train: int = 3200, test: int = 800) -> Split:
    """Patches of the photographs; from which one and which third of its height is the
    target, one of six.

    Train, validation and test come from different columns. The seed draws the first;
    the others are the same for all.
    """
    parts = []
    bands = [(0.0, 0.6, train, seed), (0.6, 0.8, test, -1), (0.8, 1.0, test, -2)]
    for low, high, number, its_seed in bands:
        rng = np.random.default_rng([7, its_seed % 2**32])
        x = np.empty((number, 8, 8, 1), "float32")
        y = np.empty(number, "int32")
        for i, which in enumerate(rng.integers(2, size=number)):
            height, width = _photographs()[which].shape
            top = rng.integers(height - 8)
            left = rng.integers(int(low * width), int(high * width) - 8)
            x[i, ..., 0] = _photographs()[which][top : top + 8, left : left + 8]
            y[i] = 3 * which + 3 * (top + 4) // height
        parts.append(Part(x, y))
    return Split(*parts)
