"""The physics study: rain twenty frames ahead, pretraining and then a short rest."""

from functools import partial

import numpy as np
from keras import ops

from evidence.setting import Setting, Task
from physics import data, models

METHODS = (
    "plain",
    "naive-a",
    "naive-b",
    "memel",
    "memel-tune",
    "memel-always",
)


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick, default or large."""
    size, filters, train, epochs = {
        "quick": (8, 4, 12, 1),
        "default": (data.SIZE, 8, 160, 10),
        "large": (96, 64, 2048, 80),
    }[scale]
    test, batch_size = (8, 2) if scale == "quick" else (96, 8)

    def task(epochs: int, rate: float, part: float) -> Task:
        return Task(
            build=partial(models.nowcaster, size, filters),
            data=partial(sequences, int(train * part), test, size),
            loss=balanced_loss,
            measure=balanced_errors,
            batch_size=batch_size,
            epochs=epochs,
            learning_rate=rate,
        )

    return [
        Setting(
            "nowcasting",
            (task(epochs, 2e-3, 1), task(max(epochs // 5, 1), 5e-4, 1.5)),
            primary="test B-MAE",
            higher_is_better=False,
            blocks="block_*",
            units="block_*",
            middle=2,
            guard=1,  # a batch of sequences is 25 calls of a layer in the recurrence
            methods=METHODS,
            more=(("memel", "plain"), ("memel", "memel")),
            tuned=("rate", "grid"),
            inside=True,
        )
    ]


def sequences(train: int, test: int, size: int, seed: int):
    return data.sequences(seed, train, test, size)


def balanced_loss(y, predicted):
    """B-MSE + B-MAE of a pixel, as HKO-7 trains."""
    y, predicted = ops.convert_to_tensor(y), ops.convert_to_tensor(predicted)
    target, weight = y[..., :1], y[..., 1:]
    away = ops.abs(target - predicted)
    return weight * (ops.square(away) + away)


def balanced_errors(predicted: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """HKO-7's scores: weighted errors, summed over a frame, averaged over frames."""
    target, weight = y[..., :1].astype("float64"), y[..., 1:].astype("float64")
    away = np.abs(target - predicted)
    return {
        "B-MAE": float((weight * away).sum(axis=(2, 3, 4)).mean()),
        "B-MSE": float((weight * away**2).sum(axis=(2, 3, 4)).mean()),
    }
