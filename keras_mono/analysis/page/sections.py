"""The parts of a report that are read before any neuron: summary and pictures."""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from keras_mono._internal.table import Table
from keras_mono._internal.visible_text import as_text, name_of
from keras_mono.analysis import plots
from keras_mono.analysis.compare import compare
from keras_mono.analysis.compare_measures import compare_measures
from keras_mono.analysis.known import not_finite
from keras_mono.analysis.measure_table import measure_table
from keras_mono.analysis.measure_words import MEASURES, about, title_of
from keras_mono.analysis.page.png import as_url
from keras_mono.analysis.page.strongest import Activity
from keras_mono.analysis.plots.by_feature import MOST_FEATURES
from keras_mono.analysis.profile import Profile

_SHOWN_NEURONS = 3  # of a layer
_IN_TABLE = 10  # neurons of a layer
_UNFOLDED = 20  # rows of a table
_CHANCE = (
    "In the tables below, values in parentheses are by chance: the labels are dealt "
    "anew at random, so that each keeps its share of the inputs. A neuron selects a "
    "feature only as far as the value lies above chance: one that answers to a single "
    "input has a class selectivity of 1 either way."
)


class Text(NamedTuple):
    """A paragraph."""

    text: str
    kind: str = "text"


class Layer(NamedTuple):
    """The heading of a layer."""

    text: str
    kind: str = "layer"


class Picture(NamedTuple):
    """A picture, what it is of, and how to read it."""

    url: str
    alt: str
    caption: str
    kind: str = "picture"


class Rows(NamedTuple):
    """A table. `links` of its first rows lead to neurons.

    `folded` is what stands in its place until it is opened; empty: it is open.
    """

    table: Table
    folded: str = ""
    links: tuple[str, ...] = ()
    kind: str = "rows"


class Section(NamedTuple):
    """A heading and what stands below it."""

    heading: str
    blocks: list[Text | Layer | Picture | Rows]


def sections(
    profiles: Mapping[str, Mapping[str, Profile]],
    seen: Mapping[str, Mapping[str, Activity]],
    labels: np.ndarray,
    sizes: Mapping[str, int],
) -> list[Section]:
    """The overview of a report.

    Args:
        profiles: Model to layer to profile; the first is the reference.
        seen: Model to layer to activity on the same data.
        labels: The feature of each sample or position.
        sizes: Model to its number of weights.
    """
    parts = [_inputs(profiles, labels)]
    if len(profiles) > 1:
        parts.append(_comparison(profiles))
    parts.append(_layers(profiles))
    if len(set(sizes.values())) > 1 and min(sizes.values()) > 0:
        parts.append(_sizes(profiles, sizes))
    parts.append(_section("The measures", Text(_CHANCE), *_meanings()))
    for name, layers in profiles.items():
        parts.append(_neurons(name, layers, seen[name], len(profiles) > 1))
    return parts


def _inputs(
    profiles: Mapping[str, Mapping[str, Profile]], labels: np.ndarray
) -> Section:
    features, counts = np.unique(labels, return_counts=True)
    rows = [
        {"feature": name_of(f), "labels": int(n)}
        for f, n in zip(features, counts, strict=True)
    ]
    first = next(iter(next(iter(profiles.values())).values()))
    sampled = (
        "All figures are from all of them."
        if first.sampled == first.inputs
        else f"K-S, false killing rate and tail are from a random {first.sampled:,} of "
        f"them; K-S is known within ±{first.ks_error:.2f}."
    )
    folded = f"The {len(rows)} features" if len(rows) > _UNFOLDED else ""
    return _section(
        "The inputs",
        Text(
            f"{first.inputs:,} inputs of {len(features)} features (a sample's label "
            f"holds for all of its positions). {sampled} φ is the "
            "squared distance of an activation from its neuron's mean, in variances: 1 "
            "on average, large where the neuron does something unusual. A neuron's own "
            "feature ℓ* is the one with the largest mean φ; that mean is 1 for a "
            "neuron that treats all features alike."
        ),
        Rows(Table(["feature", "labels"], rows), folded),
    )


def _comparison(profiles: Mapping[str, Mapping[str, Profile]]) -> Section:
    table = compare(profiles)
    reference = next(iter(profiles))
    sentences = []
    for row in table:
        if row["effect"] is None:
            continue
        unclear = row["effect_low"] <= 0 <= row["effect_high"]
        more = "more" if row["effect"] > 0 else "less"
        sentences.append(
            f"{name_of(row['model'], 60)}, {name_of(row['layer'], 60)}: "
            + (
                "no clear difference"
                if unclear
                else f"neurons are {more} monosemantic than in {name_of(reference, 60)}"
            )
            + f" (δ = {row['effect']:+.2f})."
        )
    return _section(
        "The models side by side",
        *map(Text, sentences),
        Rows(table),
        Text(
            "effect is Cliff's δ with its 95 % interval over neurons. It compares "
            "these networks; whether training does this in general, only several seeds "
            "tell."
        ),
        Rows(compare_measures(profiles), "Every measure of every layer"),
        Text(
            "Means of each measure over the neurons, those under permuted labels, and "
            "the change of the mean with its 95 % interval over neurons. What the "
            "measures are stands below."
        ),
    )


def _layers(profiles: Mapping[str, Mapping[str, Profile]]) -> Section:
    curves = {
        (layer if len(profiles) == 1 else f"{name_of(name)}, {layer}"): found
        for name, layers in profiles.items()
        for layer, found in layers.items()
    }
    return _section(
        "The layers",
        _picture(
            plots.phi_by_layer(profiles),
            "Mean φ of each neuron's own feature; bars span the middle half of the "
            "neurons. Higher is more monosemantic.",
        ),
        _picture(
            plots.ks_by_layer(profiles),
            "How far the distribution of φ on the own feature lies from that on all "
            "inputs: 0 is no difference.",
        ),
        _picture(
            plots.fkr_by_fraction(curves),
            "Of the activations that a threshold selects, the share on another feature "
            "than the neuron's own. The dotted line is blind selection.",
        ),
    )


def _meanings() -> list[Text]:
    return [Text(f"{title_of(name)}: {about(name)}.") for name in MEASURES]


def _sizes(
    profiles: Mapping[str, Mapping[str, Profile]], sizes: Mapping[str, int]
) -> Section:
    return _section(
        "By size",
        Text("; ".join(f"{name_of(n)}: {s:,} weights" for n, s in sizes.items()) + "."),
        _picture(
            plots.phi_by_size(profiles, sizes),
            "Mean φ of each neuron's own feature, by the size of the model; a thin "
            "line a layer. Whether larger models of your kind are less monosemantic, "
            "only several seeds of each tell.",
        ),
        _picture(
            plots.ks_by_size(profiles, sizes),
            "How far the distribution of φ on the own feature lies from that on all "
            "inputs, by size.",
        ),
    )


def _neurons(
    name: str,
    layers: Mapping[str, Profile],
    seen: Mapping[str, Activity],
    several: bool,
) -> Section:
    parts: list[Any] = []
    for layer, found in layers.items():
        parts += [
            Layer(name_of(layer)),
            *_without_numbers(found),
            _picture(
                plots.feature_heat_map(found.scores),
                "The most monosemantic neurons from the top; dark is a large φ, the "
                "dot marks the neuron's own feature.",
            ),
            *_measures(found, [name, layer] if several else [layer]),
        ]
        for neuron in map(int, found.scores.ranking()[:_SHOWN_NEURONS]):
            parts.append(_response(found, seen[layer], neuron))
    return _section(f"The neurons of {name_of(name)}", *parts)


def _without_numbers(found: Profile) -> list[Text]:
    missing = int(not_finite(found.scores).sum())
    if not missing:
        return []
    text = f"{missing:,} of {len(found.ks):,} neurons give nothing finite: "
    return [Text(text + "all their activations are NaN or infinite.")]


def _response(found: Profile, seen: Activity, neuron: int) -> Picture:
    features = _strongest_features(found, neuron)
    here = np.isin(seen.labels, features)
    caption = (
        f"What neuron {neuron}, one of the first, gives on each feature: "
        "quartiles, 1st and 99th percentile, mean as a dot. Boxes that lie "
        "on one line: it answers to a few inputs only."
    )
    if len(features) < len(found.scores.features):
        caption += f" Only the {len(features)} features with its largest φ."
    z, title = seen.z[here, neuron][:, None], f"Neuron {neuron} by feature"
    return _picture(plots.neuron_response(z, seen.labels[here], 0, title), caption)


def _measures(found: Profile, path: list[str]) -> list[Text | Picture | Rows]:
    table = measure_table(found, _IN_TABLE)
    links = (link(*path, row["neuron"]) for row in table[:-1])
    return [
        Rows(table, links=tuple(links)),
        _picture(
            plots.measure_agreement(found),
            "Rank correlation of the measures over the neurons of this layer: 1 is the "
            "same order, −1 the reverse. Measures that do not agree answer different "
            "questions.",
        ),
    ]


def _strongest_features(found: Profile, neuron: int) -> np.ndarray:
    """The features with the largest φ, as many as a picture can show."""
    phi = np.nan_to_num(found.scores.phi[:, neuron], nan=-1.0)
    return found.scores.features[np.argsort(-phi, kind="stable")[:MOST_FEATURES]]


def link(*path: str) -> str:
    """Where the page shows a neuron: `#layer/neuron`, or `#model/layer/neuron`."""
    return "#" + "/".join(quote(as_text(part), safe="") for part in path)


def _section(heading: str, *blocks: Any) -> Section:
    return Section(heading, list(blocks))


def _picture(figure: Any, caption: str) -> Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144)
    alt = figure.axes[0].get_title().replace("\n", " ").replace(r"\$", "$")
    return Picture(as_url(stream.getvalue()), alt, caption)
