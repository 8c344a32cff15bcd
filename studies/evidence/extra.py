"""What is measured of a trained model besides its task: features."""

from typing import Any, NamedTuple

import keras
import numpy as np

import keras_mono as km
from evidence.methods import Method
from evidence.setting import Split

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Trained(NamedTuple):
    """A run that has just ended."""

    trainer: Any
    variant: Any
    method: Method
    split: Split
    seed: int


def by_feature(run: Trained) -> dict[str, float]:
    """Of the hidden units of the middle layers, on the setting's labelled inputs."""
    setting = run.trainer.setting
    layers = km.middle(setting.tasks[-1].build(None), setting.units, setting.middle)
    return features(run.variant.model, layers, *setting.labelled())


def features(
    model: keras.Model, layers: list[str], x: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """φ_ℓ*, K-S and the false killing rate, mean of the layers."""
    profiles = km.analysis.profile(
        model, x, labels, layers, FRACTIONS, verbose=0
    ).values()
    found = {
        "best phi": np.mean([np.nanmean(p.scores.best_phi) for p in profiles]),
        "K-S": np.mean([np.nanmean(p.ks) for p in profiles]),
        "FKR by chance": np.mean([p.fkr.chance[0] for p in profiles]),
        "parameters": model.count_params(),
    }
    for i, fraction in enumerate(FRACTIONS):
        rates = [p.fkr.rate[i] for p in profiles]
        found[f"FKR at {fraction:g}"] = np.mean(rates)
    return {name: float(value) for name, value in found.items()}
