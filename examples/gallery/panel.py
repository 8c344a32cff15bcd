"""The panel of measures of one layer, and which of its neurons are monosemantic."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

import keras_mono as km

# A neuron is called monosemantic here if it alone tells one feature from all others:
# F1 on held-out inputs of "its activation is beyond a threshold".
LEAST_F1, HELD_OUT = 0.8, 0.5
SHOWN = 8  # neurons in a table


def panel(z: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Figures of activations `(inputs, neurons)` whose inputs have a feature each."""
    scores = km.analysis.feature_scores(z, labels)
    measured = {
        "best_phi": scores.best_phi,
        "ks": km.analysis.ks_statistic(z, labels),
        **vars(km.analysis.measures(z, labels)),
    }
    del measured["selective_for"]  # no number
    probe = km.analysis.probe(z, labels, HELD_OUT)
    single = probe.f1.max(axis=0) >= LEAST_F1
    shuffled = np.random.default_rng(0).permutation(labels)
    chance = km.analysis.permuted_measures(z, labels)
    chance |= {
        "best_phi": km.analysis.feature_scores(z, shuffled).best_phi,
        "ks": km.analysis.ks_statistic(z, shuffled),
    }
    tails = measured["phi_tail"]
    by_chance = km.analysis.probe(z, shuffled, HELD_OUT).f1.max(axis=0) >= LEAST_F1
    return {
        "inputs": len(z),
        "features": [str(f) for f in scores.features],
        "neurons": z.shape[1],
        "constant": int(np.isnan(scores.best_phi).sum()),
        "scale": float(np.nanstd(z, axis=0).mean()),
        "mean": {name: float(np.nanmean(x)) for name, x in measured.items()},
        "chance": {name: float(np.nanmean(x)) for name, x in chance.items()},
        "monosemantic": int(single.sum()),
        "monosemantic by chance": int(by_chance.sum()),
        "phi_tail": np.sort(tails[np.isfinite(tails)]).round(3).tolist(),
        **_each(probe, measured, single),
    }


def _each(probe, measured, single):
    """For what the monosemantic neurons are, and the figures of the best by F1."""
    number = probe.f1.argmax(axis=0)
    neurons = np.arange(len(number))
    f1, sign = probe.f1[number, neurons], probe.sign[number, neurons]
    found = probe.features[number]
    chosen = neurons[single]
    count = {
        str(f): [
            int(np.sum((found[chosen] == f) & (sign[chosen] == s))) for s in (1, -1)
        ]
        for f in probe.features
    }
    return {
        "count": count,  # by feature: that are active on it, that are silent
        "top": [
            {
                "neuron": int(n),
                "feature": str(found[n]),
                "sign": int(sign[n]),
                "f1": float(f1[n]),
                **{name: float(values[n]) for name, values in measured.items()},
            }
            for n in _best(f1, found)[:SHOWN]
        ],
    }


def _best(f1, found):
    """By F1; the best of each feature before the second of any."""
    order = np.argsort(-f1, kind="stable")
    seen: Counter = Counter()
    ranked = []
    for n in order:
        ranked.append((seen[found[n]], n))
        seen[found[n]] += 1
    return [n for _, n in sorted(ranked, key=lambda pair: pair[0])]


def fullest(layers: Mapping[str, Any]) -> str:
    """The layer with the largest share of monosemantic neurons, or with the best."""

    def share(name):
        found = layers[name]
        best = max(row["f1"] for row in found["top"])
        return found["monosemantic"] / found["neurons"], best

    return max(layers, key=share)


def balanced(
    z: np.ndarray, labels: np.ndarray, each: int, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """As many inputs of each feature: at most `each`, and no feature with fewer than
    `least`."""
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(labels == f) for f in np.unique(labels)]
    rows = [r for r in rows if len(r) >= least]
    number = min(each, *(len(r) for r in rows))
    taken = np.sort(np.concatenate([rng.permutation(r)[:number] for r in rows]))
    return z[taken], labels[taken]
