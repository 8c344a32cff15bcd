"""The image study: digits after turned patches, a transformer and a CNN."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from evidence.setting import Setting, Task
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
    width, depth, epochs = {
        "quick": (16, 4, (1, 2)),
        "default": (32, 6, (5, 20)),
        "large": (256, 12, (30, 60)),
    }[scale]
    train = 3200 if scale != "quick" else 256
    turned = partial(data.turned_patches, train=train, test=800)
    transformer = Setting(
        "vit-digits",
        _tasks(models.vision_transformer, turned, width, depth, epochs),
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
        tasks=_tasks(models.convolutional_network, turned, 2 * width // 3, 4, epochs),
        units="block_*",
        extras=("tail",),
    )
    patches = replace(
        transformer,
        name="vit-patches",
        tasks=transformer.tasks[:1],
        methods=("plain", "naive-a", "naive-b", "memel", "l2e", "encourage"),
        more=(),
        tuned=("weight",),
        extras=("tail",),
    )
    return [transformer, convolutions, patches]


def _tasks(
    model: Callable[..., keras.Model],
    turned: Callable,
    width: int,
    depth: int,
    epochs: tuple[int, int],
) -> tuple[Task, Task]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    first = Task(
        build=lambda _: model(4, "turn", width, depth),
        data=turned,
        loss=loss,
        measure=accuracy,
        batch_size=32,
        epochs=epochs[0],
        learning_rate=1e-3,
    )
    second = Task(
        build=lambda _: model(10, "digit", width, depth),
        data=data.digits,
        loss=loss,
        measure=accuracy,
        batch_size=32,
        epochs=epochs[1],
        learning_rate=1e-3,
    )
    return first, second


def accuracy(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """In percent."""
    return {"accuracy": 100 * float((logits.argmax(axis=-1) == y).mean())}
