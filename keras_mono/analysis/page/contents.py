"""What a report holds, as data for its page and for other programs.

`docs/report.md` describes the format.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mono._internal.visible_text import as_text
from keras_mono._version import __version__
from keras_mono.analysis.known import not_finite
from keras_mono.analysis.measure_agreement import measures_of
from keras_mono.analysis.measure_words import MEASURES, about, title_of
from keras_mono.analysis.page.numbers import numbers
from keras_mono.analysis.page.pairing import pairings
from keras_mono.analysis.page.responses import QUANTILES, responses
from keras_mono.analysis.page.shown import Shown
from keras_mono.analysis.page.strongest import Activity
from keras_mono.analysis.profile import Profile

FORMAT, VERSION = "keras_mono report", 1
_MOST_DESCRIBED = 8192  # neurons of which strongest inputs and responses are given


def contents(
    title: str,
    profiles: Mapping[str, Mapping[str, Profile]],
    seen: Mapping[str, Mapping[str, Activity]],
    labels: np.ndarray,
    shown: Shown,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """A report as nested dicts and lists that JSON can hold.

    Args:
        title: Heading of the report.
        profiles: Model to layer to profile.
        seen: Model to layer to activity on the same data.
        labels: The feature of each sample or position.
        shown: How samples are shown.
        sizes: Model to its number of weights.
    """
    features, count = np.unique(labels, return_counts=True)
    most = max(_MOST_DESCRIBED // sum(map(len, profiles.values())), 1)
    models = [
        {
            "name": as_text(name),
            "weights": sizes[name],
            "layers": [
                _layer(found, seen[name][layer], features, labels, most)
                for layer, found in layers.items()
            ],
        }
        for name, layers in profiles.items()
    ]
    return {
        **_head(title),
        "features": [as_text(f) for f in features],
        "labels": count.tolist(),
        "models": models,
        "comparisons": pairings(profiles, seen),
        "samples": {"kind": shown.kind, "shown": shown.some(_samples_of(models))},
    }


def _head(title: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "keras_mono": __version__,
        "title": as_text(title),
        "measures": [
            {"name": n, "title": title_of(n), "about": about(n)} for n in MEASURES
        ],
        "quantiles": list(QUANTILES),
    }


def _layer(
    found: Profile,
    seen: Activity,
    features: np.ndarray,
    labels: np.ndarray,
    most: int,
) -> dict[str, Any]:
    values = {"ks": found.ks, **measures_of(found)}
    selective_for = vars(found.measures)["selective_for"]
    broken = not_finite(found.scores)
    described = np.sort(found.scores.ranking()[:most])
    of_each: list[Any] = [None] * len(found.ks)
    for neuron, response in zip(
        described,
        responses(found.scores, seen.z, seen.labels, features, described),
        strict=True,
    ):
        strongest = _strongest(seen, int(neuron), features, labels)
        of_each[neuron] = {**response, "strongest": strongest}
    return {
        "name": as_text(found.layer),
        "inputs": found.inputs,
        "sampled": found.sampled,
        "ks_error": numbers([found.ks_error])[0],
        "positions": None if seen.grid is None else list(seen.grid),
        "measures": {name: numbers(values[name]) for name in MEASURES},
        "permuted": {name: numbers(x) for name, x in found.permuted.items()},
        "best_feature": np.searchsorted(features, found.scores.best_feature).tolist(),
        "selective_for": np.searchsorted(features, selective_for).tolist(),
        "dead": (np.isnan(found.scores.best_phi) & ~broken).astype(int).tolist(),
        "not_finite": broken.astype(int).tolist(),
        "neurons": of_each,
    }


def _strongest(
    seen: Activity, neuron: int, features: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    strongest = seen.strongest
    there = np.isfinite(strongest.activation[:, neuron])
    sample, position = (
        x[there, neuron] for x in (strongest.sample, strongest.position)
    )
    of_sample = labels.reshape(len(labels), -1)
    # A label holds for so many of the layer's positions.
    positions = math.prod(seen.grid or (1,)) // of_sample.shape[1]
    label = of_sample[sample, position // positions if labels.ndim > 1 else 0]
    return {
        "sample": sample.tolist(),
        "position": position.tolist(),
        "activation": numbers(strongest.activation[there, neuron]),
        "feature": np.searchsorted(features, label).tolist(),
    }


def _samples_of(models: list[dict[str, Any]]) -> list[int]:
    """Samples among the strongest inputs, those of large φ first."""
    of_neurons = []
    for model in models:
        for layer in model["layers"]:
            for phi, neuron in zip(
                layer["measures"]["best_phi"], layer["neurons"], strict=True
            ):
                if neuron is not None and phi is not None:
                    of_neurons.append((-phi, neuron["strongest"]["sample"]))
    of_neurons.sort(key=lambda pair: pair[0])
    return list(dict.fromkeys(s for _, samples in of_neurons for s in samples))
