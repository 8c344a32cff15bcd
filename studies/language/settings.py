"""The language study: phrases by language, and source code byte by byte."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np

import keras_mono as km
from evidence.setting import Setting, Split, Task
from language import data, models

ENCODER = (
    "plain",
    "naive-a",
    "naive-b",
    "memel",
    "memel-tune",
    "memel-threshold",
    "memel-first",
    "memel-last",
    "memel-always",
    "l2e",
    "l2e-default",
    "encourage",
)
CAUSAL = (
    "plain",
    "naive-a",
    "naive-b",
    "memel",
    "memel-threshold",
    "l2e",
    "l2e-default",
    "encourage",
)
SIZES = {
    "quick": {"medium": 16},
    "default": {"small": 16, "medium": 32, "large": 64},
    "large": {"small": 256, "medium": 768, "large": 2304},
}


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick, default or large."""
    found = []
    for size, width in SIZES[scale].items():
        found += [encoder(scale, size, width), causal(scale, size, width)]
    return found


def encoder(scale: str, size: str, width: int) -> Setting:
    """Classification of phrases after masked pretraining."""
    quick, medium = scale == "quick", size == "medium"
    depth = {"quick": 4, "default": 6, "large": 12}[scale]
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
        units="mlp_*",
        middle=2,
        methods=ENCODER if medium else ("plain", "memel", "l2e-default"),
        more=(("memel", "plain"), ("memel", "memel")) if medium else (),
        tuned=("rate", "grid", "weight") if medium else ("rate",),
        extras=("tail",),
    )


def causal(scale: str, size: str, width: int) -> Setting:
    """Bits per byte of source code; pretraining only, from a random start."""
    quick, medium = scale == "quick", size == "medium"
    length, depth = (48, 4) if scale != "large" else (512, 12)
    train = None if scale == "large" else 1600
    task = Task(
        build=lambda _: models.causal(length, width, depth),
        data=_of(partial(data.code, length=length, train=train), quick),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        measure=bits_per_byte,
        batch_size=8 if quick else 16,
        epochs=2 if quick else 3,
        learning_rate=2e-3 if scale != "large" else 3e-4,
        curve=True,
    )
    return Setting(
        f"causal-{size}",
        (task,),
        primary="test bits per byte",
        higher_is_better=False,
        blocks="block_*",
        units="mlp_*",
        middle=2,
        # By position: k of a sample would let later bytes decide about earlier ones.
        select=km.selectors.TopK(1, per="position"),
        axis=-1,
        methods=CAUSAL if medium else ("plain", "memel", "l2e"),
        tuned=("rate", "weight"),
        extras=("by_feature",),
        labelled=partial(data.labelled_code, length, each=20 if quick else 120),
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
