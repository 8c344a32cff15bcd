from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_mono._internal.data import gives_batches, known_samples, number_of_samples
from keras_mono.analysis.labelled import as_labels


class BatchLabels:
    """The labels of the batch that the model is running on.

    Attributes:
        of_batch: One per sample, or one per position.
        permuted: As many of all labels in a random order. None if they are not known in
            advance: in batches, cut short by `steps`, or by position, where only the
            model tells which are padding.
        samples: How many samples have begun to run.
    """

    def __init__(
        self, labels: np.ndarray | None, steps: int | None, seed: int = 0
    ) -> None:
        self.given, self.steps = labels, steps
        self._permuted: np.ndarray | None = None
        if labels is not None and labels.ndim == 1 and steps is None:
            self._permuted = np.random.default_rng(seed).permutation(labels)
        self.of_batch: np.ndarray = np.empty(0)
        self.permuted: np.ndarray | None = None
        self.samples = 0

    def inputs_of(self, found: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        """The inputs of each batch; `of_batch` and `permuted` hold its labels."""
        for inputs, targets in found:
            start, length = self.samples, number_of_samples(inputs)
            self.samples += length
            if self.given is not None:
                self.of_batch = self.given[start : self.samples]
            else:
                self.of_batch = labels_in(targets)
                check_one_each(len(self.of_batch), length)
            if len(self.of_batch) != length:
                break
            if self._permuted is not None:
                self.permuted = self._permuted[start : self.samples]
            yield inputs
        if self.given is None:
            return
        surplus = len(self.given) - self.samples
        if surplus < 0 or (surplus > 0 and self.steps is None):
            raise ValueError(
                "`labels` must have one entry per sample of `data`. Received: "
                f"{len(self.given)} labels, and data of "
                f"{'at least ' if surplus < 0 else ''}{self.samples} samples."
            )


def labels_in(targets: Any) -> np.ndarray:
    if targets is None or keras.tree.is_nested(targets):
        raise ValueError(
            "With `labels=None` the labels are the targets y of `data` that gives "
            f"batches `(x, y)`. Received: {_without_labels(targets)}. Pass `labels`, "
            "the feature of each sample, or give such batches."
        )
    labels = as_labels(targets)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def check_one_each(targets: int, samples: int) -> None:
    if targets != samples:
        raise ValueError(
            "With `labels=None` each batch `(x, y)` of `data` must have one target a "
            f"sample. Received: a batch of {samples} samples and {targets} targets."
        )


def _without_labels(targets: Any) -> str:
    if targets is None:
        return "data without targets"
    return (
        f"targets in a {type(targets).__name__}, of which it is not known which to take"
    )


def checked_labels(labels: Any, data: Any, steps: int | None) -> np.ndarray | None:
    """The labels, or None; an error as soon as their number is known to be wrong."""
    if labels is None:
        return None if gives_batches(data) else labels_in(None)
    labels, needed = as_labels(labels), known_samples(data)
    given = len(labels) if labels.ndim else 0
    if not given or (needed and steps is None and given != needed):
        raise ValueError(
            "`labels` must have one entry per sample, that is "
            f"{needed or 'at least one'}. Received: shape {labels.shape}."
        )
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "A profile needs inputs of at least two features. Received: only "
            f"{np.unique(labels).tolist()}."
        )
    return labels
