"""The image study: digits after patches of photographs, a transformer and a CNN."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np

from evidence.setting import Setting, Split, Task
from image import data, models

METHODS = (
    "plain",
    "naive-a",
    "naive-b",
    "memel",
    "memel-tune",
    "memel-threshold",
    "memel-always",
    "l2e",
    "l2e-default",
    "encourage",
)


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick, default or large."""
    width, depth, epochs, batch_size = {
        "quick": (16, 4, (1, 1), 8),
        "default": (32, 6, (5, 20), 32),
        "large": (256, 12, (30, 60), 32),
    }[scale]
    quick = scale == "quick"
    transformer = Setting(
        "vit-digits",
        tasks_of(models.vision_transformer, width, depth, epochs, batch_size, quick),
        primary="test accuracy",
        higher_is_better=True,
        blocks="block_*",
        units="mlp_*",
        middle=2,
        methods=METHODS,
        more=(("memel", "plain"), ("memel", "memel")),
        tuned=("rate", "grid", "weight"),
        extras=("tail", "one_step"),
    )
    convolutions = replace(
        transformer,
        name="cnn-digits",
        tasks=tasks_of(
            models.convolutional_network, 2 * width // 3, 4, epochs, batch_size, quick
        ),
        units="block_*",
        extras=("tail",),
    )
    patches = replace(
        transformer,
        name="vit-patches",
        tasks=transformer.tasks[:1],
        methods=("plain", "naive-a", "naive-b", "memel", "l2e", "encourage"),
        more=(),
        tuned=("rate", "weight"),
        extras=("tail",),
    )
    return [transformer] if quick else [transformer, convolutions, patches]


def tasks_of(
    model: Callable[..., keras.Model],
    width: int,
    depth: int,
    epochs: tuple[int, int],
    batch_size: int,
    quick: bool,
) -> tuple[Task, Task]:
    """Patches of photographs, then digits."""

    def of(whole: Callable[[int], Split]) -> Callable[[int], Split]:
        return (lambda seed: whole(seed).shorter(96, 32)) if quick else whole

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    first = Task(
        build=lambda _: model(6, "place", width, depth),
        data=of(data.placed_patches),
        loss=loss,
        measure=accuracy,
        batch_size=batch_size,
        epochs=epochs[0],
        learning_rate=1e-3,
    )
    second = Task(
        build=lambda _: model(10, "digit", width, depth),
        data=of(data.digits),
        loss=loss,
        measure=accuracy,
        batch_size=batch_size,
        epochs=epochs[1],
        learning_rate=1e-3,
    )
    return first, second


def accuracy(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """In percent."""
    return {"accuracy": 100 * float((logits.argmax(axis=-1) == y).mean())}
