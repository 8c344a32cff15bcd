"""Pictures of how models of several sizes differ."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_mono._internal.plotting.style import COLOURS, look, plain
from keras_mono.analysis.known import mean_known
from keras_mono.analysis.plots.by_feature import panel
from keras_mono.analysis.profile import Profile

Profiles = Mapping[str, Mapping[str, Profile]]


def phi_by_size(models: Profiles, sizes: Mapping[str, float]) -> Any:
    """Mean φ_ℓ* of each model's layers against its size (L2E, Fig. 5).

    Args:
        models: Name of a model to its profiles, in the order of its layers.
        sizes: Name of a model to its size, such as `model.count_params()`.

    Returns:
        A matplotlib `Figure`: a mark per model, a thick line for the mean of each size,
        and a thin one for each layer, in the layers' order.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
        ValueError: for a model without a size, a size that is not above 0, and models
            with different numbers of layers.
    """
    return _by_size(
        models,
        sizes,
        lambda p: p.scores.best_phi,
        "φ of the neuron's own feature",
        "How monosemantic the models are",
    )


def ks_by_size(models: Profiles, sizes: Mapping[str, float]) -> Any:
    """Mean K-S statistic of each model's layers against its size (L2E, Fig. 4).

    Args, Returns, Raises: as `phi_by_size`.
    """
    return _by_size(
        models,
        sizes,
        lambda p: p.ks,
        "Kolmogorov-Smirnov statistic",
        "How far φ on the own feature differs",
    )


def _by_size(
    models: Profiles,
    sizes: Mapping[str, float],
    values: Callable[[Profile], np.ndarray],
    label: str,
    title: str,
) -> Any:
    _check_sizes(models, sizes)
    at = sorted({sizes[name] for name in models})
    of_size = {size: [n for n in models if sizes[n] == size] for size in at}
    means = {
        name: np.array([mean_known(values(p)) for p in layers.values()])
        for name, layers in models.items()
    }
    by_size = np.array([np.mean([means[n] for n in of_size[s]], axis=0) for s in at])
    figure, axes = panel(5.0)
    for index, layer in enumerate(by_size.T):
        axes.plot(at, layer, color="0.65", linewidth=0.8, marker=".")
        axes.annotate(
            f" layer {index + 1}", (at[-1], layer[-1]), fontsize=7, color="0.35"
        )
    axes.plot(at, by_size.mean(axis=1), color=COLOURS[0], linewidth=2, label="mean")
    _mark_models(axes, of_size, {name: m.mean() for name, m in means.items()})
    axes.set_xscale("log")
    axes.set_xticks(at, [f"{size:,.0f}" for size in at], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("weights")
    axes.set_ylabel(label)
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _check_sizes(models: Profiles, sizes: Mapping[str, float]) -> None:
    missing = [name for name in models if name not in sizes]
    if missing:
        raise ValueError(
            "`sizes` must give the size of every model, such as "
            f"`model.count_params()`. Received: no size of {missing}."
        )
    if not all(sizes[name] > 0 for name in models):
        raise ValueError(f"`sizes` must be above 0. Received: {dict(sizes)}.")
    numbers = {name: len(layers) for name, layers in models.items()}
    if len(set(numbers.values())) != 1:
        raise ValueError(
            "Layers are compared in their order, so that every model needs the same "
            f"number of them. Received: {numbers}."
        )


def _mark_models(
    axes: Any, of_size: Mapping[float, list[str]], means: Mapping[str, float]
) -> None:
    """One mark per model; models of one size stand side by side."""
    index = 0
    for size, names in of_size.items():
        for place, name in enumerate(names):
            x = size * 1.05 ** (place - (len(names) - 1) / 2)
            marks = {**look(index), "linestyle": "none", "markersize": 6}
            axes.plot([x], [means[name]], label=plain(name, 40), **marks)
            index += 1
