"""Tasks of the manipulation study: digits after patches of photographs."""

from collections.abc import Callable

import keras
import numpy as np

from evidence.setting import Split, Task
from image import data


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
