"""How well single neurons predict a feature.

Example:

>>> rng = np.random.default_rng(0)
>>> labels = rng.integers(3, size=300)
>>> z = rng.normal(size=(300, 4))
>>> z[:, 2] += 8.0 * (labels == 1)
>>> found = km.analysis.probe(z, labels)
>>> int(found.top(1)[1, 0]), bool(found.f1[1, 2] > 0.95)
(2, True)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.optional_imports import require
from keras_mono.analysis.labelled import labelled


@dataclass(frozen=True)
class Probe:
    """How well a single neuron predicts a feature.

    Attributes:
        features: The labels, sorted, shape `(features,)`.
        f1: F1 on held-out inputs of the prediction "activation beyond the threshold",
            shape `(features, neurons)`.
        threshold, sign: Chosen on the other inputs, half way between two values, same
            shape. `sign` 1: beyond is above the threshold, -1: below.
        chance: F1 of predicting the feature always, `2p / (1 + p)` for a share p among
            the held-out inputs, shape `(features,)`.
    """

    features: np.ndarray
    f1: np.ndarray
    threshold: np.ndarray
    sign: np.ndarray
    chance: np.ndarray

    def top(self, number: int = 5) -> np.ndarray:
        """The neurons that predict each feature best, shape `(features, number)`."""
        return np.argsort(-self.f1, axis=1, kind="stable")[:, :number]

    def to_frame(self, number: int = 5) -> Any:
        """A pandas `DataFrame`: feature, rank, neuron, F1 and chance level.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        rows = [
            {
                "feature": feature,
                "rank": rank + 1,
                "neuron": neuron,
                "f1": self.f1[number_of, neuron],
                "chance": self.chance[number_of],
            }
            for number_of, feature in enumerate(self.features)
            for rank, neuron in enumerate(self.top(number)[number_of])
        ]
        return require("pandas").DataFrame(rows)


def probe(z: np.ndarray, labels: Any, held_out: float = 0.3, seed: int = 0) -> Probe:
    """The neurons whose single output best predicts a feature.

    For each neuron and feature the threshold and direction with the largest F1 are
    chosen on one part of the inputs and evaluated on the other. Both parts have the
    same shares of features.

    Reference: Probing (arXiv:2305.01610), with k = 1 neuron.

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`. Infinite
            and NaN entries count as not beyond any threshold.
        labels: The feature of each sample, or of each input.
        held_out: Share of the inputs to evaluate on, between 0 and 1.
        seed: Of the split.

    Raises:
        ImportError: if scikit-learn is missing, naming the extra.
        ValueError: if the lengths do not agree, for fewer than two features, for a
            feature of which one part would have no input, and a share that is none.
    """
    advice = " Pass 0.3 for three of ten."
    validation.share("held_out", held_out, "the inputs to evaluate on", advice)
    z, numbers, features = labelled(z, labels)
    train, test = _split(numbers, features, held_out, seed)
    shape = (len(features), z.shape[1])
    f1, threshold, sign = np.zeros(shape), np.zeros(shape), np.ones(shape)
    is_feature = np.eye(len(features), dtype=bool)[numbers]  # (inputs, features)
    for neuron in range(z.shape[1]):
        chosen = _best_rules(z[train, neuron], is_feature[train])
        threshold[:, neuron], sign[:, neuron] = chosen
        beyond = z[test, neuron, None] * chosen[1] >= chosen[0] * chosen[1]
        f1[:, neuron] = _f1(beyond, is_feature[test])
    share = is_feature[test].mean(axis=0)
    return Probe(features, f1, threshold, sign, 2 * share / (1 + share))


def _split(
    numbers: np.ndarray, features: np.ndarray, held_out: float, seed: int
) -> list[np.ndarray]:
    """Indices of the inputs to choose on and of those to evaluate on."""
    split = require("sklearn.model_selection").train_test_split
    options = {"test_size": held_out, "random_state": seed, "stratify": numbers}
    cause: Exception | None = None
    parts: list[np.ndarray] = []
    try:
        parts = split(np.arange(len(numbers)), **options)
    except ValueError as error:
        cause = error
    if cause or any(len(set(numbers[p])) < len(features) for p in parts):
        raise ValueError(
            "`z` cannot be divided into two parts that both hold every feature. "
            f"Received: {np.bincount(numbers).tolist()} inputs of the features "
            f"{features.tolist()} and held_out={held_out}. Add inputs of the rare "
            "ones, or hold out more."
        ) from cause
    return parts


def _best_rules(
    values: np.ndarray, is_feature: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each feature the threshold and sign with the largest F1."""
    best = np.full(is_feature.shape[1], -1.0)
    threshold, sign = np.full(best.shape, np.inf), np.ones(best.shape)
    positives = is_feature.sum(axis=0)
    for direction in (1.0, -1.0):
        directed = np.where(np.isfinite(values), values * direction, -np.inf)
        order = np.argsort(-directed, kind="stable")
        ranked = directed[order]
        usable = np.append(ranked[1:] != ranked[:-1], True) & np.isfinite(ranked)
        if not usable.any():
            continue
        hits = np.cumsum(is_feature[order], axis=0)[usable]
        named = np.arange(1, len(ranked) + 1)[usable, None]
        f1 = 2 * hits / (named + positives)
        # Half way to the next value: what is held out differs a little.
        levels = ranked[usable]
        levels = np.append((levels[:-1] + levels[1:]) / 2, levels[-1:])
        at = f1.argmax(axis=0)
        reached = f1[at, np.arange(len(best))]
        better = reached > best
        best = np.where(better, reached, best)
        threshold = np.where(better, direction * levels[at], threshold)
        sign = np.where(better, direction, sign)
    return threshold, sign


def _f1(beyond: np.ndarray, is_feature: np.ndarray) -> np.ndarray:
    hits = (beyond & is_feature).sum(axis=0)
    return 2 * hits / np.maximum(beyond.sum(axis=0) + is_feature.sum(axis=0), 1)
