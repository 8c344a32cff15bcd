"""What a study trains: tasks, and the settings that string them together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np


class Part(NamedTuple):
    """Inputs and targets."""

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Data of one seed. Validation chooses, the test is for reporting only."""

    train: Part
    validation: Part
    test: Part

    def shorter(self, train: int, others: int) -> "Split":
        """The first ones only, to see that a study runs."""
        numbers = (train, others, others)
        return Split(
            *(Part(p.x[:n], p.y[:n]) for p, n in zip(self, numbers, strict=True))
        )


@dataclass(frozen=True)
class Task:
    """One training: from what, with what loss, for how long.

    `build(inhibition)` makes the model, not compiled; a recurrent one takes the layer
    inside, the others get None. `measure(predictions, targets)` gives figures by name.
    """

    build: Callable[[keras.layers.Layer | None], keras.Model]
    data: Callable[[int], Split]
    loss: Any
    measure: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    batch_size: int
    epochs: int
    learning_rate: float
    curve: bool = False  # the test loss after every epoch too
    decays: bool = False  # the learning rate, from epoch to epoch, in a line to 0


@dataclass(frozen=True)
class Setting:
    """A model on a task, after a task it is pretrained on or from its random start.

    `units` are the layers whose hidden units the penalty watches, `blocks` those whose
    outputs are inhibited: globs of layer names. `select` and `axis` are MEmeL's
    defaults, which a causal model cannot take. `guard` is n_f and l_s in training
    batches: the paper's 10 calls are one batch where a batch is a sequence of calls.
    """

    name: str
    tasks: tuple[Task, ...]
    primary: str
    higher_is_better: bool
    blocks: str
    units: str
    middle: int
    select: Any = 1
    axis: int | None = None
    guard: int = 10
    methods: tuple[str, ...] = ("plain", "memel")
    pretrained_with: tuple[str, ...] = ("plain",)
    more: tuple[tuple[str, ...], ...] = ()  # further paths, such as ("memel", "plain")
    tuned: tuple[str, ...] = ()  # of "rate", "grid" and "weight", see tuning.py
    extras: tuple[str, ...] = ()  # of extra.py: what else is measured
    labelled: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    inside: bool = False  # inhibition inside a recurrence, by the model's own argument

    def paths(self) -> list[tuple[str, ...]]:
        """Every sequence of methods that is trained, one method a task."""
        if len(self.tasks) == 1:
            found = [(method,) for method in self.methods]
        else:
            found = [(p, m) for p in self.pretrained_with for m in self.methods]
        return [*found, *(path for path in self.more if path not in found)]

    @property
    def plain(self) -> tuple[str, ...]:
        return ("plain",) * len(self.tasks)
