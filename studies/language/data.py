"""Phrases of twelve languages, and source code of five kinds, as bytes."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

import keras_mono as km
from evidence.setting import Part, Split

PHRASE = 24  # bytes; three quarters of the phrases are shorter than 20
VOCABULARY = 258  # padding, 256 bytes, and what hides a byte
HIDDEN = 257
IGNORED = -1
CODE = {
    "python": [".py"],
    "cython": [".pyx", ".pxd"],
    "c": [".h"],
    "stub": [".pyi"],
    "rst": [".rst"],
}
PACKAGES = ("numpy", "scipy", "sklearn")
PIECE = 1024  # characters that stay together, in training or out of it


@cache
def _phrases():
    """In a fixed random order; the labels are numbers of languages.

    Phrases that are cut off may be alike: of such there is none.
    """
    found = km.analysis.natural_languages()
    x = found.as_bytes(PHRASE)
    _, where, number = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    once = number[where.ravel()] == 1
    labels = np.unique(found.labels, return_inverse=True)[1]
    return x[once], labels[once]


def phrases(seed: int, train: int = 1024) -> Split:
    """2,048 test and 1,024 validation phrases for all; the seed draws `train` others.

    The target is the language, one of twelve.
    """
    x, y = _phrases()
    chosen = 3072 + np.random.default_rng(seed).permutation(len(x) - 3072)[:train]
    parts = (chosen, slice(2048, 3072), slice(2048))
    return Split(*(Part(x[rows], y[rows].astype("int32")) for rows in parts))


def masked_phrases(seed: int, train: int = 6400) -> Split:
    """Phrases with 15 % of their bytes hidden; the targets are these bytes.

    `train` that are neither validation nor test, without their labels; the seed says
    what is hidden.
    """
    x, _ = _phrases()
    parts = []
    bounds = (slice(3072, 3072 + train),)
    for rows, its_seed in zip(
        (*bounds, slice(2048, 3072), slice(2048)), (seed, 10_001, 10_002), strict=True
    ):
        whole = x[rows]
        hidden = np.random.default_rng(its_seed).random(whole.shape) < 0.15
        hidden &= whole > 0
        targets = np.where(hidden, whole, IGNORED).astype("int32")
        parts.append(Part(np.where(hidden, HIDDEN, whole).astype("int32"), targets))
    return Split(*parts)


@cache
def _code():
    """Pieces of installed source code, as bytes, and the number of their language."""
    found = km.analysis.code_languages(
        CODE, length=PIECE, most=300, roots=_package_folders()
    )
    names = sorted(CODE)
    labels = np.array([names.index(label) for label in found.labels])
    return found.as_bytes(PIECE), labels


def _package_folders() -> list[Path]:
    """Where the packages are whose source code is read: their versions fix it."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    return [Path(spec.origin).parent for spec in specs]


def code(seed: int, length: int = 64, train: int | None = None) -> Split:
    """Windows of `length` bytes, and the same one byte later.

    Every sixth piece is validation, every sixth test; the seed draws nothing here but
    the order, and a subset of `train` windows.
    """
    pieces, _ = _code()
    sixth = np.arange(len(pieces)) % 6
    parts = []
    for rows in (sixth > 1, sixth == 0, sixth == 1):
        windows = _windows(pieces[rows], length)
        if len(parts) == 0:
            order = np.random.default_rng(seed).permutation(len(windows))
            windows = windows[order[:train]]
        elif train is not None:
            windows = windows[:: len(windows) // (train // 5)][: train // 5]
        parts.append(Part(windows[:, :-1], windows[:, 1:]))
    return Split(*parts)


def _windows(pieces: np.ndarray, length: int) -> np.ndarray:
    step = length + 1
    count = pieces.shape[1] // step
    return pieces[:, : count * step].reshape(-1, step)


def labelled_code(
    length: int = 64, each: int = 120, sixths: tuple[int, ...] = (0, 1)
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out windows with their language, equally many of each.

    `sixths`: 0 are the pieces of validation, 1 those of the test.
    """
    pieces, labels = _code()
    held_out = np.isin(np.arange(len(pieces)) % 6, sixths)
    windows = _windows(pieces[held_out], length)[:, :-1]
    names = np.repeat(labels[held_out], len(windows) // held_out.sum())
    labels_of, counts = np.unique(names, return_counts=True)
    if counts.min() < each:
        raise ValueError(
            f"Expected {each} held-out windows of each language. Received: "
            f"{dict(zip(np.array(sorted(CODE))[labels_of], counts, strict=True))}. "
            "Install the packages that docs/results.md names, or ask for fewer."
        )
    rng = np.random.default_rng(0)
    rows = [
        rng.permutation(np.flatnonzero(names == label))[:each]
        for label in np.unique(labels)
    ]
    return windows[np.concatenate(rows)], names[np.concatenate(rows)]
