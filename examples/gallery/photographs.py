"""Photographs of scikit-learn and matplotlib, and what is at each place of them."""

import numpy as np
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from scipy import ndimage
from sklearn.datasets import load_sample_images

ROWS, COLUMNS = 208, 320
EDGES = ("horizontal edge", "rising edge", "vertical edge", "falling edge")
FLAT, STEEP, STRAIGHT = 0.5, 0.75, 0.6  # shares of places, and coherence


def two_photographs() -> np.ndarray:
    """A pagoda and a flower, at half size: values of 0 to 255."""
    return np.stack([_halved(x)[:ROWS, :COLUMNS] for x in load_sample_images().images])


def portrait() -> np.ndarray:
    """matplotlib's photograph of Grace Hopper, at half size."""
    return _halved(imread(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def _halved(rgb):
    rows, columns = (n // 2 * 2 for n in rgb.shape[:2])
    parts = rgb[:rows, :columns].astype("float32")
    return parts.reshape(rows // 2, 2, columns // 2, 2, 3).mean(axis=(1, 3))


def features(photograph: np.ndarray, cell: int) -> np.ndarray:
    """What is in each cell of `cell` by `cell` pixels; "" where it is not clear.

    Where brightness hardly changes, a colour or a brightness. Where it changes much, an
    edge of one of four directions, or texture if it has no single direction.
    """
    grey = ndimage.gaussian_filter(photograph.mean(axis=-1) / 255, 1)
    down, right = (ndimage.sobel(grey, axis=axis) for axis in (0, 1))
    yy, xx, xy = (_in_cells(p, cell) for p in (down**2, right**2, down * right))
    energy = yy + xx
    coherence = np.hypot(xx - yy, 2 * xy) / np.maximum(energy, 1e-12)
    # The edge runs across the gradient; the angle is measured in the picture, upwards.
    angle = -np.arctan2(2 * xy, xx - yy) / 2 + np.pi / 2
    direction = np.round(angle / (np.pi / 4)).astype(int) % 4
    found = np.full(energy.shape, "", "<U15")
    flat = energy <= np.quantile(energy, FLAT)
    steep = energy >= np.quantile(energy, STEEP)
    found[steep] = np.where(
        coherence >= STRAIGHT, np.array(EDGES)[direction], "texture"
    )[steep]
    found[flat] = _colours(photograph, cell)[flat]
    return found


def _colours(photograph, cell):
    rgb = np.stack([_in_cells(photograph[..., i], cell) for i in range(3)], axis=-1)
    largest, mean = rgb.max(axis=-1), rgb.mean(axis=-1)
    colourful = largest - rgb.min(axis=-1) >= 0.25 * largest
    names = np.array(["red", "green", "blue"])[rgb.argmax(axis=-1)]
    brightness = np.select([mean > 150, mean < 75], ["bright", "dark"], "grey")
    return np.where(colourful, names, brightness)


def _in_cells(values, cell):
    smooth = ndimage.gaussian_filter(values, 0.5 + cell / 2)
    rows, columns = (n // cell for n in values.shape)
    parts = smooth[: rows * cell, : columns * cell]
    return parts.reshape(rows, cell, columns, cell).mean(axis=(1, 3))
