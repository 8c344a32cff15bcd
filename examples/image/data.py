"""Handwritten digits, and turned patches of photographs, both 8 x 8 and grey."""

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
    """Grey values of scikit-learn's two photographs, a third as wide and high."""
    grey = []
    for image in load_sample_images().images:
        rows, columns = (n // 3 * 3 for n in image.shape[:2])
        image = image[:rows, :columns].mean(axis=2)
        image = image.reshape(rows // 3, 3, columns // 3, 3).mean(axis=(1, 3))
        grey.append((image / 255).astype("float32"))
    return grey


def turned_patches(seed: int, train: int = 3200, test: int = 800) -> Split:
    """Patches turned by 0, 90, 180 or 270 degrees; by how much is the target.

    Train, validation and test come from different columns of the photographs. The seed
    draws the first; the others are the same for all.
    """
    parts = []
    bands = [(0.0, 0.6, train, seed), (0.6, 0.8, test, -1), (0.8, 1.0, test, -2)]
    for low, high, number, its_seed in bands:
        rng = np.random.default_rng([7, its_seed % 2**32])
        x = np.empty((number, 8, 8, 1), "float32")
        turns = rng.integers(4, size=number)
        for row, turn in zip(x, turns, strict=True):
            image = _photographs()[rng.integers(2)]
            height, width = image.shape
            top = rng.integers(height - 8)
            left = rng.integers(int(low * width), int(high * width) - 8)
            patch = image[top : top + 8, left : left + 8]
            spread = max(float(np.ptp(patch)), 0.02)
            row[..., 0] = np.rot90((patch - patch.min()) / spread, turn)
        parts.append(Part(x, turns.astype("int32")))
    return Split(*parts)
