"""What is measured of a trained model besides its task: φ, features, one step."""

from typing import Any, NamedTuple

import keras
import numpy as np

import keras_mono as km
from evidence.methods import Method
from evidence.setting import Split

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
STEP_RATE = 1e-4  # moves activations by about a thousandth, as in the paper
ONE_STEP_BATCHES = 4
STEPPED = {"RD": 1.0, "naive (a)": 0.0, "naive (b)": -1.0}


class Trained(NamedTuple):
    """A run that has just ended."""

    trainer: Any
    variant: Any
    method: Method
    split: Split
    seed: int


def _middle(trainer, what: str) -> list[str]:
    plain = trainer.setting.tasks[-1].build(None)
    where = getattr(trainer.setting, what)
    return km.middle(plain, where, trainer.setting.middle)


def tail(run: Trained) -> dict[str, float]:
    """Tail of φ of held-out activations, against their own statistics, and scale."""
    found = {}
    for what in ("blocks", "units"):
        layers = _middle(run.trainer, what)
        z = km.analysis.activations(run.variant.model, run.split.test.x, layers, 256)
        each = [km.analysis.summary(values) for values in z.values()]
        for name in ("top1", "threshold", "kurtosis"):
            found[f"{what} {name}"] = float(np.mean([e[name] for e in each]))
        scales = [values.std(axis=0).mean() for values in z.values()]
        found[f"{what} scale"] = float(np.mean(scales))
    return found


def by_feature(run: Trained) -> dict[str, float]:
    """φ_ℓ*, K-S and the false killing rate of the hidden units, on labelled inputs."""
    x, labels = run.trainer.setting.labelled()
    layers = _middle(run.trainer, "units")
    profiles = km.analysis.profile(
        run.variant.model, x, labels, layers, FRACTIONS, verbose=0
    ).values()
    found = {
        "best phi": np.mean([np.nanmean(p.scores.best_phi) for p in profiles]),
        "K-S": np.mean([np.nanmean(p.ks) for p in profiles]),
        "FKR by chance": np.mean([p.fkr.chance[0] for p in profiles]),
        "parameters": run.variant.model.count_params(),
    }
    for i, fraction in enumerate(FRACTIONS):
        rates = [p.fkr.rate[i] for p in profiles]
        found[f"FKR at {fraction:g}"] = float(np.mean(rates))
    return {name: float(value) for name, value in found.items()}


def one_step(run: Trained) -> dict[str, float]:
    """What one small gradient step does to the largest φ of a plainly trained model.

    MEmeL, Table 4, with Lemma 3.3's plain gradient: Adam, just started, moves every
    weight alike, whatever its gradient.
    """
    if run.method.name != "plain":
        return {}
    from evidence.training import assign, our_layers, values  # it imports this module

    task = run.trainer.setting.tasks[-1]
    if "one step" not in run.trainer.kept:
        number = len(run.trainer.setting.tasks) - 1
        model = Method("memel").model(run.trainer.setting, number)
        model.compile(keras.optimizers.SGD(STEP_RATE), task.loss)
        run.trainer.kept["one step"] = model
    model = run.trainer.kept["one step"]
    assign(model, values(run.variant.model))
    for layer in our_layers(model):
        layer.reset()
    km.calibrate(model, run.split.train.x, task.batch_size)
    keras.utils.set_random_seed(run.seed)
    found: dict[str, list[float]] = {}
    for layer in our_layers(model):
        table = km.analysis.decrease_ratio(
            model,
            layer.name,
            *(array[: ONE_STEP_BATCHES * task.batch_size] for array in run.split.test),
            strength=list(STEPPED.values()),
            batch_size=task.batch_size,
        )
        for name, row in zip(["plain", *STEPPED], table, strict=True):
            for figure in ("decrease_ratio", "update_ratio"):
                found.setdefault(f"{figure} {name}", []).append(row[figure])
    return {name: float(np.mean(each)) for name, each in found.items()}
