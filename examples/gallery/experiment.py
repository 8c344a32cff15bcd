"""What is done with every network: it is measured, fine-tuned and stripped."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import keras_mono as km
from gallery.panel import panel


@dataclass(frozen=True)
class Case:
    """A network out of a package, and what is done with it.

    Attributes:
        model: With the package's weights.
        x: What its neurons are measured on. Nothing of it is trained on.
        entries: Layer to a function of its activations on `x` that gives activations
            `(inputs, neurons)` and the feature of each input.
        where: The layer that the fine-tuning acts on, one of those of `entries`.
        train: What the fine-tuning sees. Its targets are the network's own outputs, so
            that training without a layer of ours would have nothing to learn.
        with_ours: Puts a layer of ours into the model, which keeps its weights.
        loss, rate, batch, epochs: Of the fine-tuning.
        answer: What is decided from outputs; how many decisions stay is counted.
        targets: What is learned from outputs.
    """

    model: keras.Model
    x: Any
    entries: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]
    where: str
    train: Any
    with_ours: Callable[[keras.Model], keras.Model]
    loss: Any
    rate: float
    batch: int
    epochs: int
    answer: Callable[[np.ndarray], np.ndarray]
    targets: Callable[[np.ndarray], np.ndarray] = lambda outputs: outputs


@dataclass(frozen=True)
class Done:
    """Figures to store, and what a picture shows: activations and outputs on `x`."""

    figures: dict[str, Any]
    before: dict[str, np.ndarray]  # by layer
    outputs: np.ndarray


def run(case: Case) -> Done:
    """Measure, insert, fine-tune, strip, measure again."""
    start = time.process_time()
    model, names = case.model, list(case.entries)
    before = _activations(case, names)
    layers = {name: panel(*case.entries[name](before[name])) for name in names}
    outputs = _predicted(case, model, case.x)
    big = case.with_ours(model)
    _expect_same(_predicted(case, km.strip(big), case.x), outputs, "before training")
    _fit(case, big, case.targets(_predicted(case, model, case.train)))
    stripped = km.strip(big)
    tuned = _predicted(case, stripped, case.x)
    _expect_same(tuned, _predicted(case, big, case.x), "after training")
    after = km.analysis.activations(
        stripped, case.x, [case.where], case.batch, masked=np.nan
    )
    (row,) = km.status(big)
    figures = {
        "where": case.where,
        "layers": layers,
        "after": panel(*case.entries[case.where](after[case.where])),
        "layer of ours": row["kind"],
        "steps": case.epochs * -(-_length(case.train) // case.batch),
        "answers kept": float(np.mean(_same(case, outputs, tuned))),
        "weights": model.count_params(),
        "cpu seconds": round(time.process_time() - start, 1),
    }
    return Done(figures, before, outputs)


def _activations(case, names):
    return km.analysis.activations(case.model, case.x, names, case.batch, masked=np.nan)


def _predicted(case, model, x):
    return model.predict(x, batch_size=case.batch, verbose=0)


def _same(case, one, other):
    return case.answer(one) == case.answer(other)


def _expect_same(found, expected, when):
    """The network without our layers gives the same numbers, bit for bit."""
    if not np.array_equal(found, expected):
        largest = np.abs(found - expected).max()
        raise AssertionError(f"strip {when} differs by up to {largest}.")


def _fit(case, big, targets):
    keras.utils.set_random_seed(0)
    for layer in big.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # its statistics stay those of the package
    km.calibrate(big, case.train, batch_size=case.batch)
    # Without a layer of ours the gradient is 0 but for rounding, which Adam's usual
    # epsilon would make steps of.
    big.compile(keras.optimizers.Adam(case.rate, epsilon=1e-4), case.loss)
    big.fit(case.train, targets, batch_size=case.batch, epochs=case.epochs, verbose=0)


def _length(x):
    return len(x[0]) if isinstance(x, list) else len(x)


def penalty(weight: float) -> km.layers.MonosemanticPenalty:
    """On the 2 % of the activations with the largest φ, from the first step on."""
    return km.layers.MonosemanticPenalty(weight, start_step=1, form="phi")


def about(versions: dict[str, str]) -> dict[str, Any]:
    """Where and with what figures came out."""
    return {
        "backend": keras.config.backend(),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
