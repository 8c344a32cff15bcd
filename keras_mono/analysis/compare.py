"""Differences between the neurons of several models.

Example:

>>> rng = np.random.default_rng(0)
>>> x, labels = rng.normal(size=(64, 4)), rng.integers(2, size=64)
>>> def model(units):
...     layers = [keras.Input((4,)), keras.layers.Dense(units, name="a")]
...     return keras.Sequential(layers)
>>> found = {
...     name: km.analysis.profile(model(units), x, labels, ["a"], verbose=0)
...     for name, units in {"small": 4, "large": 16}.items()
... }
>>> [row["neurons"] for row in km.analysis.compare(found)]
[4, 16]
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.optional_imports import require
from keras_mono._internal.table import Table
from keras_mono.analysis.known import known, mean_known
from keras_mono.analysis.profile import Profile

_COLUMNS = [
    "model",
    "layer",
    "neurons",
    "mean_phi",
    "mean_ks",
    "fkr",
    "fkr_chance",
    "effect",
    "effect_low",
    "effect_high",
    "p_value",
]


def compare(
    profiles: Mapping[str, Mapping[str, Profile]],
    fraction: float = 0.02,
    resamples: int = 1000,
    seed: int = 0,
) -> Table:
    """Profiles of two or more models side by side, with effect sizes.

    The first model is the reference. The effect is Cliff's δ of φ_ℓ*: the probability
    that a neuron of this model is more monosemantic than one of the reference's layer
    in the same place of its list, minus that of the reverse, from -1 to 1. With it come
    a 95 % bootstrap interval over neurons and the p value of Mann and Whitney's test.
    They hold for these networks, not for others. See also `compare_measures`.

    Args:
        profiles: Model name to the result of `profile`; layers in the same order.
        fraction: Of the false killing rate shown, 0 to 1; the nearest one profiled.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        A `Table`, one row per model and layer. Effects are None for the reference, and
        where no neuron of a layer has a score.

    Raises:
        ImportError: if scipy is missing, naming the extra.
        ValueError: for fewer than two models, unlike numbers of layers, a bad fraction.
    """
    validation.positive_integer("resamples", resamples, "of bootstrap samples")
    fraction = validation.fraction_to_select(fraction)
    check_profiles(profiles)
    reference = list(next(iter(profiles.values())).values())
    rows = []
    for number, (name, layers) in enumerate(profiles.items()):
        for found, base in zip(layers.values(), reference, strict=True):
            row = _row(name, found, fraction)
            if number:
                row |= _effect(found, base, resamples, seed)
            rows.append(row)
    return Table(_COLUMNS, rows, f"against '{next(iter(profiles))}'")


def _told(profiles: Any) -> str:
    if isinstance(profiles, Mapping):
        return f"names {list(profiles)}"
    return f"{profiles!r:.60}, a {type(profiles).__name__}"


def check_profiles(profiles: Any) -> None:
    if not isinstance(profiles, Mapping) or len(profiles) < 2:
        raise ValueError(
            "A comparison needs at least two models, as name to what `profile` gave. "
            f"Received: {_told(profiles)}."
        )
    for name, layers in profiles.items():
        if not isinstance(layers, Mapping):
            raise ValueError(
                f"`profiles['{name}']` must be what `profile` gave, layer to Profile. "
                f"Received: {type(layers).__name__}."
            )
    numbers = {name: len(layers) for name, layers in profiles.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "Layers are compared in their order, so that every model needs the same "
            f"number of them. Received: {numbers}."
        )


def _row(name: str, found: Profile, fraction: float) -> dict[str, Any]:
    at = int(np.abs(np.log(np.asarray(found.fkr.fraction) / fraction)).argmin())
    return {
        **dict.fromkeys(_COLUMNS),
        "model": name,
        "layer": found.layer,
        "neurons": len(found.ks),
        "mean_phi": mean_known(found.scores.best_phi),
        "mean_ks": mean_known(found.ks),
        "fkr": float(np.asarray(found.fkr.rate)[at]),
        "fkr_chance": float(np.asarray(found.fkr.chance)[at]),
    }


def _effect(
    found: Profile, base: Profile, resamples: int, seed: int
) -> dict[str, float]:
    these, those = (known(p.scores.best_phi) for p in (found, base))
    if not (len(these) and len(those)):
        return {}
    test = require("scipy.stats").mannwhitneyu(these, those)
    rng = np.random.default_rng(seed)
    low, high = bootstrap_interval(cliffs_delta, these, those, resamples, rng)
    return {
        "effect": cliffs_delta(these, those),
        "effect_low": low,
        "effect_high": high,
        "p_value": float(test.pvalue),
    }


def bootstrap_interval(
    difference: Callable[[np.ndarray, np.ndarray], float],
    these: np.ndarray,
    those: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The middle 95 % of a difference of two sets that are drawn anew."""
    drawn = [
        difference(rng.choice(these, len(these)), rng.choice(those, len(those)))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def cliffs_delta(a: np.ndarray, b: np.ndarray) -> float:
    """P(a > b) - P(a < b) of values drawn from each."""
    ranked = np.sort(b)
    less = np.searchsorted(ranked, a, side="left").sum()
    more = len(a) * len(b) - np.searchsorted(ranked, a, side="right").sum()
    return float(less - more) / (len(a) * len(b))
