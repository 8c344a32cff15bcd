"""The measures of several models side by side.

Example:

>>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(9, name="a")])
>>> rng = np.random.default_rng(0)
>>> x, labels = rng.normal(size=(64, 4)), rng.integers(2, size=64)
>>> found = km.analysis.profile(model, x, labels, ["a"], verbose=0)
>>> rows = km.analysis.compare_measures({"before": found, "after": found})
>>> [row["change"] for row in rows if row["measure"] == "hoyer"]
[None, 0.0]
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.table import Table
from keras_mono.analysis.compare import bootstrap_interval, check_profiles
from keras_mono.analysis.known import known, mean_known
from keras_mono.analysis.measure_agreement import measures_of
from keras_mono.analysis.profile import Profile

_COLUMNS = [
    "layer",
    "measure",
    "model",
    "mean",
    "permuted",
    "change",
    "change_low",
    "change_high",
]


def compare_measures(
    profiles: Mapping[str, Mapping[str, Profile]], resamples: int = 1000, seed: int = 0
) -> Table:
    """The measures of two or more models side by side, means over the neurons.

    The first model is the reference. Changes are those of the mean against it, with a
    95 % bootstrap interval over neurons. They hold for these networks, not for others.

    Args:
        profiles: Model name to the result of `profile`. Layers are compared in their
            order.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        A `Table`, one row per layer, measure and model. `permuted` is the mean under
        permuted labels, None for measures that use none and for φ_ℓ*. Changes are None
        for the reference, and where no neuron of a layer has the measure.

    Raises:
        ValueError: for fewer than two models, different numbers of layers, and profiles
            without measures.
    """
    validation.positive_integer("resamples", resamples, "of bootstrap samples")
    check_profiles(profiles)
    layers = zip(*(p.values() for p in profiles.values()), strict=True)
    rng = np.random.default_rng(seed)
    rows = []
    for of_models in layers:
        values = [measures_of(found) for found in of_models]
        for measure in values[0]:
            base = known(values[0][measure])
            for place, (name, found) in enumerate(
                zip(profiles, of_models, strict=True)
            ):
                row = _row(name, found, measure, values[place][measure])
                if place:
                    row |= _change(known(values[place][measure]), base, resamples, rng)
                rows.append(row)
    return Table(_COLUMNS, rows, f"change against '{next(iter(profiles))}'")


def _row(name: str, found: Profile, measure: str, values: np.ndarray) -> dict[str, Any]:
    permuted = found.permuted.get(measure)
    return {
        **dict.fromkeys(_COLUMNS),
        "layer": found.layer,
        "measure": measure,
        "model": name,
        "mean": mean_known(values),
        "permuted": None if permuted is None else mean_known(permuted),
    }


def _change(
    these: np.ndarray, those: np.ndarray, resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    if not (len(these) and len(those)):
        return {}
    low, high = bootstrap_interval(_rise, these, those, resamples, rng)
    return {"change": _rise(these, those), "change_low": low, "change_high": high}


def _rise(these: np.ndarray, those: np.ndarray) -> float:
    return float(these.mean() - those.mean())
