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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import check, number_of_batches, pairs
from keras_mono._internal.model_layers import find_layers
from keras_mono._internal.optional_imports import require
from keras_mono._internal.recording.record import (
    Recorded,
    record_batches,
    valid_positions,
)
from keras_mono._internal.tail_figures import own_phi, tail_figures
from keras_mono.analysis.batch_labels import BatchLabels, checked_labels
from keras_mono.analysis.distribution import of_distribution
from keras_mono.analysis.false_killing_rate import (
    FalseKillingRate,
    checked_fractions,
    rate_for,
)
from keras_mono.analysis.feature_rows import Finite, Grouping
from keras_mono.analysis.feature_scores import FeatureScores, FeatureStatistics
from keras_mono.analysis.ks_statistic import ks_for
from keras_mono.analysis.labelled import advice_on_classes, label_of_inputs
from keras_mono.analysis.measure_sums import ClassSums, MeasureSums
from keras_mono.analysis.measures import Measures, permuted_units
from keras_mono.analysis.sample import UniformSample

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SAMPLED_ENTRIES = 2**24  # activations kept per layer


@dataclass(frozen=True)
class Profile:
    """Which features one layer's neurons respond to.

    Attributes:
        layer: Its name.
        inputs: How many inputs (positions of samples) were seen, without masked ones.
        sampled: How many of them `ks`, `fkr`, `tail` and two of the measures,
            `wasserstein` and `phi_tail`, are from: all of them if they fit, else a
            random sample.
        scores: From all inputs.
        ks: `ks_statistic` of each neuron. NaN for one that never changes, and for one
            whose ℓ* has no input among the sampled ones: give more `sampled_entries`.
        ks_error: Half the width of a 95 % band around `ks`, by the inequality of
            Dvoretzky, Kiefer, Wolfowitz and Massart for the rarest feature; 0 if all
            inputs are used.
        fkr: `false_killing_rate` by fraction, of the neurons that have a K-S.
        tail: `top1`, `threshold`, `tail` and `kurtosis` as `summary` gives them for
            `(inputs, neurons)`. All positions are inputs of one neuron, and `top1` is
            of a position; `summary` of `(samples, ..., neurons)` does not pool them.
        measures: `measures` of each neuron. None if they were left out.
        permuted: `permuted_measures`, the chance level of those that use labels. Over
            all inputs if `labels` has one entry per sample and all samples have as many
            positions. Over the sampled inputs if they have not, as with padding, if
            labels are per position, come with the batches or `steps` are taken: of few
            inputs it is higher. Empty if the measures were left out.
    """

    layer: str
    inputs: int
    sampled: int
    scores: FeatureScores
    ks: np.ndarray
    ks_error: float
    fkr: FalseKillingRate
    tail: dict[str, float]
    measures: Measures | None = None
    permuted: dict[str, np.ndarray] = field(default_factory=dict)

    def to_frame(self) -> Any:
        """A pandas `DataFrame`, one row per neuron, in order of `scores.ranking()`.

        The columns are the neuron, ℓ*, φ_ℓ*, K-S and the measures; beside each that
        uses labels its value under permuted labels, as `NAME_permuted`.

        Raises:
            ImportError: if pandas is missing, naming the extra.
        """
        columns = {
            "neuron": np.arange(len(self.ks)),
            "best_feature": self.scores.best_feature,
            "best_phi": self.scores.best_phi,
            "ks": self.ks,
        }
        for name, values in vars(self.measures).items() if self.measures else ():
            columns[name] = values
            if name in self.permuted:
                columns[f"{name}_permuted"] = self.permuted[name]
        order = self.scores.ranking()
        return require("pandas").DataFrame({n: x[order] for n, x in columns.items()})


class _Collected:
    """Collects the activations of one layer while the model runs."""

    def __init__(
        self, labels: BatchLabels, entries: int, seed: int, measured: bool
    ) -> None:
        self.labels, self.seed, self.measured = labels, seed, measured
        of_what = "of activations"
        self.entries = validation.positive_integer("sampled_entries", entries, of_what)
        self.inputs = self.samples = self.units = 0
        self.positions: set[int] = set()  # how many of a sample count

    def _begin(self, neurons: int) -> None:
        self.statistics = FeatureStatistics(neurons)
        self.sample = UniformSample(max(self.entries // neurons, 1), self.seed)
        self.sums, self.permuted = MeasureSums(neurons), ClassSums(neurons)

    def add(self, recorded: Recorded) -> None:
        z = recorded.as_float32()
        if z.ndim < 2:
            raise ValueError(
                "A layer needs an axis of inputs and one of neurons to be profiled. "
                f"Received: outputs of shape {z.shape}."
            )
        there, inputs = valid_positions(recorded).reshape(-1), z.shape[:-1]
        given = self._labels_of(z)
        units = self.units + np.arange(given.size).reshape(given.shape)
        self.units += given.size
        labels, units = (label_of_inputs(x, inputs)[there] for x in (given, units))
        z = z.reshape(-1, z.shape[-1])[there]
        if not self.inputs:
            self._begin(z.shape[1])
        self.sample.add(z, labels, units)
        self.inputs += len(z)
        batch, groups = Finite(z), Grouping(labels)
        self.statistics.add_batch(batch, groups)
        if not self.measured:
            return
        self.sums.add(batch, groups)
        if self.labels.permuted is None or len(self.positions) > 1:
            return
        of_unit = units - (self.units - given.size)
        counted = np.bincount(of_unit[batch.counted.any(axis=1)], minlength=given.size)
        self.positions.update(counted.tolist())
        if len(self.positions) < 2:
            permuted = label_of_inputs(self.labels.permuted, inputs)[there]
            self.permuted.add(batch, Grouping(permuted))

    def _labels_of(self, z: np.ndarray) -> np.ndarray:
        """The labels of the next batch, per sample or per position."""
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
                f"one input cannot be profiled.{advice_on_classes(labels)}"
            )
        return labels

    def profile(self, layer: str, fractions: Sequence[float]) -> Profile:
        if self.samples != self.labels.samples:
            seen = f"{self.samples} of {self.labels.samples}"
            raise ValueError(_seen_in_part(seen, f"the data, layer '{layer}'"))
        scores = self.statistics.scores()
        z, labels, units = self.sample.taken()
        complete = len(z) == self.inputs
        self._check_sample(layer, labels, scores)
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
            tail_figures(own_phi(z)),
            *self._measures(z, labels, units),
        )

    def _check_sample(
        self, layer: str, sampled: np.ndarray, scores: FeatureScores
    ) -> None:
        """Refuse a sample that is too small. `sampled` are its labels."""
        features, neurons = scores.count.shape
        if len(sampled) == self.inputs:
            return
        if len(sampled) < 10 * features:
            raise ValueError(
                "`sampled_entries` must hold ten inputs a feature, that is at least "
                f"{10 * features * neurons} for layer '{layer}'. "
                f"Received: {self.entries}."
            )
        if len(np.unique(sampled)) < 2:
            raise ValueError(
                "`sampled_entries` must be so large that inputs of two features are "
                f"among the sampled ones of layer '{layer}'. Received: {self.entries}, "
                f"with which all {len(sampled)} are of {sampled[:1].tolist()}. Pass "
                f"{self.inputs * neurons} to take all inputs."
            )

    def _measures(
        self, z: np.ndarray, labels: np.ndarray, units: np.ndarray
    ) -> tuple[Measures | None, dict[str, np.ndarray]]:
        """The measures from all inputs, and by permuted labels."""
        if not self.measured:
            return None, {}
        moments = self.statistics.whole()
        of_sums = self.sums.by_feature(moments) | self.sums.sparseness(moments)
        selective_for = self.sums.own.selective_for()
        of_neuron = of_sums | of_distribution(z)
        found = Measures(selective_for=selective_for, **of_neuron)
        if self.labels.permuted is None or len(self.positions) > 1:
            return found, permuted_units(z, labels, units, self.seed)
        return found, self.sums.by_feature(moments, self.permuted)


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
    measures: bool = True,
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
            tail come from it. It may lack a rare feature: see `Profile.ks`.
        seed: Of the sample, and of the permutation of labels.
        verbose: 1 shows a progress bar, 0 nothing.
        steps: How many batches of `data` to take. None: all.
        measures: False leaves out `Profile.measures` and `permuted`, and their time.
    """
    curve = checked_fractions("fractions", fractions)
    model = as_model(model)
    watched = find_layers(model, layers)
    check(data, batch_size, steps)
    of_batches = BatchLabels(checked_labels(labels, data, steps), steps, seed)
    of = of_batches, sampled_entries, seed, measures
    collected = {name: _Collected(*of) for name in watched}
    number = number_of_batches(data, batch_size, steps)
    inputs = of_batches.inputs_of(pairs(data, batch_size, steps))
    record_batches(model, inputs, watched, _collect_in(collected, number, verbose))
    return {name: c.profile(name, curve.tolist()) for name, c in collected.items()}


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
