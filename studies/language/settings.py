"""The language study: phrases by language, and source code byte by byte."""

from collections.abc import Callable

import keras
import numpy as np

from evidence.setting import Setting, Split, Task
from language import data, models

ENCODER = (
    "plain",
    "naive-a",
    "naive-b",
    "memel",
    "memel-tune",
    "memel-first",
    "memel-last",
    "memel-always",
)
SIZES = {
    "quick": {"medium": 16},
    "default": {"small": 16, "medium": 32, "large": 64},
}


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick or default."""
    return [encoder(scale, size, width) for size, width in SIZES[scale].items()]


def encoder(scale: str, size: str, width: int) -> Setting:
    """Classification of phrases after masked pretraining."""
    quick, medium = scale == "quick", size == "medium"
    depth = 4 if quick else 6
    first = Task(
        build=lambda _: models.encoder(data.VOCABULARY, "byte", width, depth),
        data=_of(data.masked_phrases, quick),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=data.IGNORED
        ),
        measure=bits_per_hidden_byte,
        batch_size=8 if quick else 32,
        epochs=1 if quick else 2,
        learning_rate=1e-3,
    )
    second = Task(
        build=lambda _: models.encoder(12, "language", width, depth),
        data=_of(data.phrases, quick),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        measure=accuracy,
        batch_size=8 if quick else 32,
        epochs=1 if quick else 6,
        learning_rate=1e-3,
    )
    return Setting(
        f"encoder-{size}",
        (first, second),
        primary="test accuracy",
        higher_is_better=True,
        blocks="block_*",
        units="mlp_[0-9]*",
        middle=2,
        methods=ENCODER if medium else ("plain", "memel"),
        more=(("memel", "plain"), ("memel", "memel")) if medium else (),
        tuned=("rate", "grid") if medium else ("rate",),
    )


def _of(whole: Callable[[int], Split], quick: bool) -> Callable[[int], Split]:
    return (lambda seed: whole(seed).shorter(96, 32)) if quick else whole


def accuracy(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """In percent."""
    return {"accuracy": 100 * float((logits.argmax(axis=-1) == y).mean())}


def bits_per_byte(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {"bits per byte": _bits(logits.reshape(-1, logits.shape[-1]), y.ravel())}


def bits_per_hidden_byte(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    hidden = y != data.IGNORED
    return {"bits per hidden byte": _bits(logits[hidden], y[hidden])}


def _bits(logits: np.ndarray, y: np.ndarray) -> float:
    logits = logits - logits.max(axis=-1, keepdims=True)
    of_target = np.take_along_axis(logits, y[:, None], axis=-1)[:, 0]
    nats = np.log(np.exp(logits).sum(axis=-1)) - of_target
    return float(nats.mean() / np.log(2))
