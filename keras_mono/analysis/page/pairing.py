"""Which layers of two models can be compared neuron by neuron."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mono._internal.varies import varies
from keras_mono._internal.visible_text import as_text
from keras_mono.analysis.page.numbers import numbers
from keras_mono.analysis.page.strongest import Activity
from keras_mono.analysis.profile import Profile


def pairings(
    profiles: Mapping[str, Mapping[str, Profile]],
    seen: Mapping[str, Mapping[str, Activity]],
) -> list[dict[str, Any]]:
    """For each model but the first, which of its layers have the first one's neurons.

    Layers of the same name and width are compared. Neurons of the same number mean the
    same only if the models began with the same weights. The weights do not tell; the
    activations do: `paired` is the mean correlation of neurons of the same number on
    the same inputs, `shuffled` that of neurons of different numbers. Neurons that are
    constant in one of the models are left out.

    Args:
        profiles: Model to layer to profile.
        seen: Model to layer to activity on the same data.
    """
    (reference, base), *others = profiles.items()
    return [
        {
            "model": as_text(name),
            "reference": as_text(reference),
            "layers": [
                _pairing(reference, layer, found, base)
                | _correlations(seen[name][layer], seen[reference].get(layer))
                for layer, found in layers.items()
            ],
        }
        for name, layers in others
    ]


def _pairing(
    reference: str, layer: str, found: Profile, base: Mapping[str, Profile]
) -> dict[str, Any]:
    why = None
    if layer not in base:
        why = (
            f"'{reference}' has no layer of this name in the report. It has: "
            f"{list(base)}."
        )
    elif len(base[layer].ks) != len(found.ks):
        why = (
            f"It has {len(found.ks):,} neurons here and {len(base[layer].ks):,} in "
            f"'{reference}'."
        )
    return {"layer": as_text(layer), "why_not": None if why is None else as_text(why)}


def _correlations(these: Activity, those: Activity | None) -> dict[str, Any]:
    """Mean correlations of neurons of equal and of different numbers, if known."""
    unknown = {"paired": None, "shuffled": None}
    if those is None or these.z.shape != those.z.shape:
        return unknown
    if not np.array_equal(these.units, those.units) or len(these.z) < 3:
        return unknown
    a, b = _standardized(these.z), _standardized(those.z)
    there = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    if there.sum() < 2:
        return unknown
    a, b = a[:, there], b[:, there]
    n, same = a.shape[1], float((a * b).sum())
    different = float(a.sum(axis=1) @ b.sum(axis=1)) - same  # of every two
    return {
        "paired": numbers([same / n])[0],
        "shuffled": numbers([different / (n * (n - 1))])[0],
    }


def _standardized(z: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1; NaN for a constant one."""
    with np.errstate(invalid="ignore"):  # of infinite entries
        z = z.astype(np.float64)  # a float32 mean leaves a remainder of constants
        mean, variance = z.mean(axis=0), z.var(axis=0, ddof=1)
        length = np.sqrt(variance * (len(z) - 1))
        return (z - mean) / np.where(varies(mean, variance), length, np.nan)
