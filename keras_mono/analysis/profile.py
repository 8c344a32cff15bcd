"""Measurements of which features a layer's neurons respond to.

Activations stream through in batches, without those of padding (see `activations`).
Scores by feature come from sums over all of them. What needs a distribution (K-S, FKR,
the tail) comes from a random sample, which is all of them if they fit.

Labels are in the order in which `data` gives the samples. With `labels=None` they are
the targets `y` of `(x, y)` batches, which is right also where batches are shuffled.

Example:

>>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
>>> rng = np.random.default_rng(0)
>>> x, labels = rng.normal(size=(64, 4)), rng.integers(2, size=64)
>>> found = km.analysis.profile(model, x, labels, ["a"], verbose=0)["a"]
>>> found.inputs, found.sampled, found.ks.shape
(64, 64, (3,))
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import (
    check,
    gives_batches,
    known_samples,
    number_of_batches,
    number_of_samples,
    pairs,
)
from keras_mono._internal.model_layers import find_layers
from keras_mono._internal.recording.record import (
    Recorded,
    record_batches,
    valid_positions,
)
from keras_mono.analysis.false_killing_rate import FalseKillingRate, rate_for
from keras_mono.analysis.feature_scores import FeatureScores, FeatureStatistics
from keras_mono.analysis.ks_statistic import ks_for
from keras_mono.analysis.labelled import as_labels, label_of_inputs
from keras_mono.analysis.summary import summary

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SAMPLED_ENTRIES = 2**24  # activations kept per layer


@dataclass(frozen=True)
class Profile:
    """Which features one layer's neurons respond to.

    Attributes:
        layer: Its name.
        inputs: How many inputs (positions of samples) were seen, without masked ones.
        sampled: How many of them `ks`, `fkr` and `tail` are from: all of them if they
            fit, else a random sample.
        scores: From all inputs.
        ks: `ks_statistic` of each neuron.
        ks_error: Half the width of a 95 % band around `ks`, by the inequality of
            Dvoretzky, Kiefer, Wolfowitz and Massart for the rarest feature; 0 if all
            inputs are used.
        fkr: `false_killing_rate` by fraction.
        tail: `summary` of the activations, every position a sample.
    """

    layer: str
    inputs: int
    sampled: int
    scores: FeatureScores
    ks: np.ndarray
    ks_error: float
    fkr: FalseKillingRate
    tail: dict[str, float]


class _Sample:
    """A uniform random sample of a stream of inputs, of bounded size."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._random = np.random.default_rng(seed)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held = 0

    def add(self, z: np.ndarray, labels: np.ndarray) -> None:
        keys = self._random.random(len(z))
        self._parts.append((keys, np.asarray(z, np.float32), labels))
        self._held += len(z)
        if self._held > 2 * self.size:
            self._shrink()

    def _shrink(self) -> None:
        """Keep the inputs with the smallest random keys."""
        keys, z, labels = (np.concatenate(p) for p in zip(*self._parts, strict=True))
        if len(keys) > self.size:
            kept = np.sort(np.argpartition(keys, self.size)[: self.size])
            keys, z, labels = keys[kept], z[kept], labels[kept]
        self._parts, self._held = [(keys, z, labels)], len(keys)

    def taken(self) -> tuple[np.ndarray, np.ndarray]:
        self._shrink()
        _, z, labels = self._parts[0]
        return z, labels


class _Labels:
    """The labels of the batch that the model is running on."""

    def __init__(self, labels: np.ndarray | None, steps: int | None) -> None:
        self.given, self.steps = labels, steps
        self.of_batch: np.ndarray = np.empty(0)
        self.samples = 0

    def inputs_of(self, found: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        """The inputs of each batch; `of_batch` holds its labels."""
        for inputs, targets in found:
            start, length = self.samples, number_of_samples(inputs)
            self.samples += length
            if self.given is not None:
                self.of_batch = self.given[start : self.samples]
            else:
                self.of_batch = labels_in(targets)
            if len(self.of_batch) != length:
                break
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
            "`labels=None` takes the labels from `(x, y)` batches of `data`. Received: "
            f"y={targets!r:.60}. Pass `labels`."
        )
    labels = as_labels(targets)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


class _Collected:
    """Collects the activations of one layer while the model runs."""

    def __init__(self, labels: "_Labels", entries: int, seed: int) -> None:
        self.labels, self.entries, self.seed = labels, entries, seed
        self.statistics: FeatureStatistics | None = None
        self.sample: _Sample | None = None
        self.inputs = self.samples = 0

    def add(self, recorded: Recorded) -> None:
        z = keras.ops.convert_to_numpy(keras.ops.cast(recorded.value, "float32"))
        if z.ndim < 2:
            raise ValueError(
                "A layer needs an axis of inputs and one of neurons to be profiled. "
                f"Received: outputs of shape {z.shape}."
            )
        there = valid_positions(recorded).reshape(-1)
        labels = self._labels_of(z)[there]
        z = z.reshape(-1, z.shape[-1])[there]
        if self.statistics is None:
            self.statistics = FeatureStatistics(z.shape[1])
            self.sample = _Sample(max(self.entries // z.shape[1], 1), self.seed)
        self.statistics.add(z, labels)
        assert self.sample is not None
        self.sample.add(z, labels)
        self.inputs += len(z)

    def _labels_of(self, z: np.ndarray) -> np.ndarray:
        """The label of every input of the next batch."""
        labels = self.labels.of_batch
        if len(z) < len(labels):
            raise ValueError(_seen_in_part(f"{len(z)} of {len(labels)}", "a batch"))
        called_again = self.samples + len(z) > self.labels.samples
        self.samples += len(z)
        shape = z.shape[: labels.ndim]
        if labels.shape != shape or labels.ndim == z.ndim or called_again:
            raise ValueError(
                "`labels` must have one entry per sample, or per position that the "
                f"layer sees. Received: labels of shape {labels.shape} for a batch of "
                f"outputs of shape {z.shape}; a layer that is called several times on "
                "one input cannot be profiled."
            )
        return label_of_inputs(labels, z.shape[:-1])

    def profile(self, layer: str, fractions: Sequence[float]) -> Profile:
        assert self.statistics is not None
        assert self.sample is not None
        if self.samples != self.labels.samples:
            seen = f"{self.samples} of {self.labels.samples}"
            raise ValueError(_seen_in_part(seen, f"the data, layer '{layer}'"))
        scores = self.statistics.scores()
        z, labels = self.sample.taken()
        complete = len(z) == self.inputs
        if not complete and len(z) < 10 * len(scores.features):
            raise ValueError(
                "`sampled_entries` must hold ten inputs a feature, that is at least "
                f"{10 * len(scores.features) * z.shape[1]} for layer '{layer}'. "
                f"Received: {self.entries}."
            )
        rarest = min((labels == f).sum() for f in scores.features)
        band = np.sqrt(np.log(40) / 2)
        error = band / np.sqrt(max(rarest, 1)) + band / np.sqrt(len(z))
        return Profile(
            layer,
            self.inputs,
            len(z),
            scores,
            ks_for(z, labels, scores),
            0.0 if complete else float(min(error, 1.0)),
            rate_for(z, labels, scores, fractions),
            summary(z),
        )


def _seen_in_part(seen: str, what: str) -> str:
    return (
        f"A layer saw {seen} samples of {what}, so that it is not known whose labels "
        "they have. Profile a layer that sees every sample once."
    )


def profile(
    model: keras.Model,
    data: Any,
    labels: Any,
    layers: Sequence[str],
    fractions: float | Sequence[float] = FRACTIONS,
    batch_size: int = 128,
    sampled_entries: int = SAMPLED_ENTRIES,
    seed: int = 0,
    verbose: int = 1,
    steps: int | None = None,
) -> dict[str, Profile]:
    """Which features the neurons of some layers respond to, on labelled inputs.

    Args:
        model: A built Keras model, or a PyTorch module with adapters, its layers here.
        data: The model's inputs, as for `activations`, of any number.
        labels: The feature of each sample or position. None: the targets of `data`.
        layers: Names of the layers. A neuron is an index into the last axis.
        fractions: Of the false killing rate's curve, one or several.
        batch_size: Samples per forward pass.
        sampled_entries: Largest random sample, in activations per layer. K-S, FKR and
            tail come from it; scores by feature are sums over all inputs.
        seed: Of the sample.
        verbose: 1 shows a progress bar, 0 nothing.
        steps: How many batches of `data` to take. None: all.
    """
    model = as_model(model)
    watched = find_layers(model, layers)
    check(data, batch_size, steps)
    of_batches = _Labels(_checked(labels, data, steps), steps)
    collected = {n: _Collected(of_batches, sampled_entries, seed) for n in watched}
    number = number_of_batches(data, batch_size, steps)
    inputs = of_batches.inputs_of(pairs(data, batch_size, steps))
    record_batches(model, inputs, watched, _collect_in(collected, number, verbose))
    curve = np.atleast_1d(fractions).tolist()
    return {name: c.profile(name, curve) for name, c in collected.items()}


def _collect_in(
    collected: Mapping[str, _Collected], number: int | None, verbose: int
) -> Callable[[str, Recorded], None]:
    """A consumer of recorded activations that shows a progress bar."""
    total = None if number is None else number * len(collected)
    bar = keras.utils.Progbar(total, verbose=verbose, unit_name="batch")

    def add(name: str, recorded: Recorded) -> None:
        collected[name].add(recorded)
        bar.add(1)

    return add


def _checked(labels: Any, data: Any, steps: int | None) -> np.ndarray | None:
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
