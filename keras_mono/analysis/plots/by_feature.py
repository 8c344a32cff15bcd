"""Pictures of which features neurons respond to.

Example:

>>> z = np.random.default_rng(0).normal(size=(60, 3))
>>> figure = km.analysis.plots.neuron_response(z, np.arange(60) % 2, neuron=1)
>>> figure.axes[0].get_ylabel()
'activation'
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mono._internal.optional_imports import require
from keras_mono._internal.plotting.style import COLOURS, from_zero, look, plain
from keras_mono.analysis.ablation import Ablation
from keras_mono.analysis.feature_scores import FeatureScores
from keras_mono.analysis.known import known
from keras_mono.analysis.labelled import labelled
from keras_mono.analysis.profile import Profile

MOST_FEATURES = 60  # whose names can be read in a picture


_BOXES: dict[str, Any] = {
    "whis": (1, 99),
    "showfliers": False,
    "showmeans": True,
    "patch_artist": True,
    "boxprops": {"facecolor": "#D6E6F2", "edgecolor": COLOURS[0]},
    "medianprops": {"color": COLOURS[0], "linewidth": 2},
    "whiskerprops": {"color": COLOURS[0]},
    "capprops": {"color": COLOURS[0]},
    "meanprops": {
        "marker": "o",
        "markerfacecolor": COLOURS[1],
        "markeredgecolor": "white",
    },
}


def neuron_response(
    z: np.ndarray,
    labels: Any,
    neuron: int,
    name: str | None = None,
    most: int = MOST_FEATURES,
) -> Any:
    """A neuron's activations on the inputs of each feature (MEmeL, Fig. 1).

    Args:
        z: Activations, shape `(inputs, neurons)` or `(samples, ..., neurons)`.
        labels: The feature of each sample, or of each input.
        neuron: Its number.
        name: How to call it in the title.
        most: How many features to show at most: those with its largest φ.

    Returns:
        A matplotlib `Figure` with one box per feature: quartiles and median, whiskers
        from the 1st to the 99th percentile, and the mean as a dot.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
        ValueError: for a neuron that does not exist, and as `feature_scores`.
    """
    z, numbers, features = labelled(z, labels)
    if not 0 <= neuron < z.shape[1]:
        raise ValueError(
            f"`neuron` must lie between 0 and {z.shape[1] - 1}. Received: {neuron}."
        )
    kept = ~np.isnan(z[:, neuron])
    parts = _by_feature(z[kept, neuron], numbers[kept], len(features))
    shown, part_of = _most(features, _squares(parts), most)
    parts, features = [parts[i] for i in shown], features[shown]
    figure, axes = panel(_width(features, 0.6, 1.5))
    axes.boxplot(parts, **_BOXES)
    _name(axes, "feature", features, first=1)
    axes.set_ylabel("activation")
    title = f"Neuron {neuron} by feature" if name is None else plain(name, most=60)
    axes.set_title(title + part_of, fontsize=10)
    return figure


def _by_feature(
    values: np.ndarray, numbers: np.ndarray, features: int
) -> list[np.ndarray]:
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=features))[:-1]
    return np.split(values[order], ends)


def _squares(parts: list[np.ndarray]) -> np.ndarray:
    """φ of each feature, but for the neuron's variance; -1 where it has no input."""
    center = np.concatenate(parts).mean() if any(map(len, parts)) else 0.0
    return np.array([((p - center) ** 2).mean() if len(p) else -1.0 for p in parts])


def _most(features: np.ndarray, phi: np.ndarray, most: int) -> tuple[np.ndarray, str]:
    """Indices of the features to show, in order, and an addition to the title."""
    shown = np.sort(np.argsort(-phi, kind="stable")[:most])
    if len(shown) == len(features):
        return shown, ""
    return shown, f": the {len(shown)} of {len(features):,} features with the largest φ"


def ablation_by_feature(found: Ablation) -> Any:
    """The increase of each feature's loss without a neuron (MEmeL, Fig. 2).

    Args:
        found: From `ablation`.

    Returns:
        A matplotlib `Figure`: a group of bars per feature, one bar per neuron.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
    """
    figure, axes = panel(_width(found.features, 0.9, 2))
    width = 0.8 / len(found.neurons)
    hatches = ("", "//", "..", "xx", "\\\\", "oo", "--")
    for index, neuron in enumerate(found.neurons):
        axes.bar(
            np.arange(len(found.features)) + (index + 0.5) * width - 0.4,
            found.increase[:, index],
            width,
            label=f"neuron {neuron}",
            color=COLOURS[index % len(COLOURS)],
            hatch=hatches[index % len(hatches)],
            edgecolor="white",
        )
    _name(axes, "feature", found.features)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set_ylabel("increase of the loss")
    axes.set_title("Loss with one neuron at its mean", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return figure


def feature_heat_map(
    scores: FeatureScores, neurons: int = 20, most: int = MOST_FEATURES
) -> Any:
    """φ_ℓ of the most monosemantic neurons, features across.

    Args:
        scores: From `feature_scores`, or `scores` of a `Profile`.
        neurons: How many to show.
        most: How many features to show at most: ℓ* of the neurons shown, then those
            with the largest φ.

    Returns:
        A matplotlib `Figure`. Dark is a large φ_ℓ; a dot marks ℓ*.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
    """
    order = scores.ranking()[:neurons]
    order = order[~np.isnan(scores.best_phi[order])]
    phi = np.nan_to_num(scores.phi[:, order], nan=-1.0).max(axis=1, initial=-1.0)
    phi[np.searchsorted(scores.features, scores.best_feature[order])] = np.inf
    chosen, part_of = _most(scores.features, phi, most)
    features, shown = scores.features[chosen], scores.phi[chosen][:, order].T
    height = max(2.5, 0.22 * len(order) + 1.5)
    figure, axes = panel(_width(features, 0.6, 2.5), height)
    axes.grid(visible=False)
    title = "φ by feature of the most monosemantic neurons"
    axes.set_title(title + part_of.replace(": the", "\nthe"), fontsize=10)
    if not len(order):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no neuron has a score: dead or not finite", ha="center")
        return figure
    image = axes.imshow(shown, cmap="Greys", aspect="auto", vmin=0)
    best = np.searchsorted(features, scores.best_feature[order])
    axes.scatter(best, np.arange(len(order)), s=14, color=COLOURS[1])
    _name(axes, "feature", features)
    axes.set_yticks(range(len(order)), [str(n) for n in order], fontsize=7)
    axes.set_ylabel("neuron")
    figure.colorbar(image, ax=axes, label="φ of a feature's inputs")
    return figure


def fkr_by_fraction(profiles: Mapping[str, Profile]) -> Any:
    """The false killing rate against the fraction selected (L2E, Fig. 6).

    Args:
        profiles: Name of a curve to the profile that it is from.

    Returns:
        A matplotlib `Figure`; a grey dotted line is the chance level.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
    """
    figure, axes = panel(5.0)
    for index, (name, found) in enumerate(profiles.items()):
        fraction = 100 * np.asarray(found.fkr.fraction)
        rate = 100 * np.asarray(found.fkr.rate)
        axes.plot(fraction, rate, label=plain(name, 40), markersize=4, **look(index))
    for index, found in enumerate(profiles.values()):
        fraction = 100 * np.asarray(found.fkr.fraction)
        chance = 100 * np.asarray(found.fkr.chance)
        label = "chance" if index == 0 else None
        axes.plot(fraction, chance, color="0.6", linestyle=":", label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    from_zero(axes)
    axes.set_xlabel("activations selected, %")
    axes.set_ylabel("on another feature than ℓ*, %")
    axes.set_title("False killing rate", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return figure


def phi_by_layer(models: Mapping[str, Mapping[str, Profile]]) -> Any:
    """Mean φ_ℓ* of each layer, one line per model (L2E, Fig. 5).

    Args:
        models: Name of a model to its profiles, in the order of its layers.

    Returns:
        A matplotlib `Figure`; bars span the middle half of the neurons.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
    """
    return _by_layer(
        models,
        lambda p: p.scores.best_phi,
        "φ of the neuron's own feature",
        "How monosemantic the layers are",
    )


def ks_by_layer(models: Mapping[str, Mapping[str, Profile]]) -> Any:
    """Mean K-S statistic of each layer, one line per model (L2E, Fig. 4).

    Args:
        models: Name of a model to its profiles, in the order of its layers.

    Returns:
        A matplotlib `Figure`; bars span the middle half of the neurons.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
    """
    return _by_layer(
        models,
        lambda p: p.ks,
        "Kolmogorov-Smirnov statistic",
        "How far φ on the own feature differs",
    )


def _by_layer(
    models: Mapping[str, Mapping[str, Profile]], values: Any, label: str, title: str
) -> Any:
    if not models:
        raise ValueError("Expected at least one model with its profiles. Received: {}.")
    names = _names_by_place(models)
    figure, axes = panel(_width(names, 0.9, 2))
    for index, (name, layers) in enumerate(models.items()):
        at = np.arange(len(layers)) + 0.12 * (index - (len(models) - 1) / 2)
        mean, low, high = np.array([_middle(values(p)) for p in layers.values()]).T
        axes.errorbar(
            at,
            mean,
            # Quartiles; the mean of a skewed layer may lie beyond one.
            yerr=np.clip([mean - low, high - mean], 0, None),
            label=plain(name, 40),
            capsize=3,
            markersize=5,
            **look(index),
        )
    _name(axes, "layer", names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.margins(y=0.1)
    from_zero(axes)
    axes.set_ylabel(label)
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _names_by_place(models: Mapping[str, Mapping[str, Profile]]) -> list[str]:
    """Names of the layers at each index; all names where the models differ."""
    longest = max(map(len, models.values()))
    places = [
        [list(layers)[place] for layers in models.values() if place < len(layers)]
        for place in range(longest)
    ]
    return [" / ".join(dict.fromkeys(names)) for names in places]


def _width(names: Sequence[Any] | np.ndarray, each: float, more: float) -> float:
    """Width in inches for so many names, at most what fits on a page."""
    return min(max(4.5, each * len(names) + more), 13.0)


def _middle(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and quartiles of those that are known; NaN where none is."""
    values = known(values)
    if not len(values):
        return np.nan, np.nan, np.nan
    return values.mean(), *np.quantile(values, [0.25, 0.75])


def panel(width: float, height: float = 3.4) -> tuple[Any, Any]:
    """A figure with one panel, and the panel; sizes in inches."""
    figure = require("matplotlib.figure").Figure((width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _name(
    axes: Any, what: str, names: Sequence[Any] | np.ndarray, first: int = 0
) -> None:
    """The horizontal axis, on which each tick has a name."""
    texts = [plain(name) for name in names]
    crowded = len(texts) > 24
    tilted = {"rotation": 30, "ha": "right"} if max(map(len, texts)) > 6 else {}
    if crowded:
        tilted = {"rotation": 90, "ha": "center"}
    size = 6 if crowded else 8
    places = range(first, first + len(texts))
    axes.set_xticks(places, texts, fontsize=size, **tilted)
    axes.set_xlabel(what)
