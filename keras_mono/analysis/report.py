"""A self-contained HTML page about the neurons of one or several models.

It shows how monosemantic the layers are and for which features, the most monosemantic
neurons, the false killing rate by fraction, and the differences of several models.

Errors are those of `profile` and `compare`. A path that cannot be written to is an
error before any work. Pictures need matplotlib and scipy, the extra `analysis`.

Example:

>>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
>>> rng = np.random.default_rng(0)
>>> x, labels = rng.normal(size=(64, 4)), rng.integers(2, size=64)
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = km.analysis.report(
...         model, x, labels, ["a"], folder + "/report.html", verbose=0)
...     "</html>" in path.read_text("utf-8")
True
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import Batches, check, pairs
from keras_mono._internal.model_layers import named_layers
from keras_mono._internal.table import Table
from keras_mono.analysis import plots
from keras_mono.analysis.activations import activations
from keras_mono.analysis.batch_labels import labels_in
from keras_mono.analysis.compare import compare
from keras_mono.analysis.compare_measures import compare_measures
from keras_mono.analysis.labelled import as_labels, label_of_inputs
from keras_mono.analysis.measure_table import measure_table
from keras_mono.analysis.page_file import replacing
from keras_mono.analysis.plots.by_feature import MOST_FEATURES
from keras_mono.analysis.profile import Profile, profile
from keras_mono.layers.running_statistics import RunningStatistics

_SHOWN_NEURONS = 3  # of a layer
_SHOWN_INPUTS = 5000
_IN_TABLE = 10  # neurons of a layer

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
figcaption, p { max-width: 44rem; } figcaption { color: #555; font-size: .92rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""


def report(
    models: keras.Model | Mapping[str, keras.Model],
    data: Any,
    labels: Any,
    layers: Sequence[str] | Mapping[str, Sequence[str]],
    path: str | Path = "report.html",
    title: str = "What the neurons answer to",
    batch_size: int = 128,
    verbose: int = 1,
    steps: int | None = None,
) -> Path:
    """Write a page with tables, pictures and captions: one model, or a comparison.

    Args:
        models: A built Keras model or a PyTorch module with adapters, or name to model;
            the first is the reference.
        data: The models' inputs, as for `activations`. Batches are read once and kept.
        labels: The feature of each sample or position. None: the targets of `data`.
        layers: Names of the layers, or a model's name to its layers' names. Layers of
            several models are compared in their order.
        path: Where to write. An earlier page is replaced when the new one is complete.
        title: Heading of the page.
        batch_size: Samples per forward pass.
        verbose: 1 shows progress bars, 0 nothing.
        steps: How many batches of `data` to take. None: all.

    Returns:
        The path.
    """
    named = _named_models(models)
    of_each = _layers_of_each(layers, list(named))
    check(data, batch_size, steps)
    with replacing(Path(path)) as write:
        held = Batches(pairs(data, batch_size, steps))
        known = _labels_of(held) if labels is None else as_labels(labels)
        profiles = _profiles(named, of_each, held, known, (batch_size, verbose, steps))
        known = known[: held.samples()]  # `steps` may take fewer
        parts = _sections(named, profiles, held, known)
        write(_page(title, parts).encode("utf-8", "backslashreplace"))
    return Path(path)


def _named_models(models: Any) -> dict[str, Any]:
    models = as_model(models)
    if isinstance(models, keras.Model) or hasattr(models, "adapted_layers"):
        models = {models.name: models}
    if not isinstance(models, Mapping) or not models:
        raise ValueError(
            "`models` must be a Keras model, or a dict of name to model with at least "
            f"one. Received: {models!r}."
        )
    return {name: as_model(model) for name, model in models.items()}


def _layers_of_each(layers: Any, names: list[str]) -> Mapping[str, Sequence[str]]:
    of_each = layers if isinstance(layers, Mapping) else dict.fromkeys(names, layers)
    if set(of_each) != set(names):
        raise ValueError(
            f"`layers` must name the layers of each model {names}. Received: "
            f"{list(of_each)}."
        )
    return of_each


def _profiles(
    models: Mapping[str, Any],
    layers: Mapping[str, Sequence[str]],
    held: Batches,
    labels: np.ndarray,
    options: tuple[int, int, int | None],
) -> dict[str, dict[str, Profile]]:
    batch_size, verbose, steps = options
    return {
        name: profile(
            model,
            held,
            labels,
            layers[name],
            batch_size=batch_size,
            verbose=verbose,
            steps=steps,
        )
        for name, model in models.items()
    }


def _labels_of(held: Batches) -> np.ndarray:
    found = [labels_in(targets) for _, targets in held]
    if len({labels.shape[1:] for labels in found}) > 1:
        raise ValueError(
            "A report needs labels of one form. Received: batches of labels of shapes "
            f"{sorted({labels.shape[1:] for labels in found})} beside the samples. Pad "
            "the inputs to one length."
        )
    return np.concatenate(found)


def _sections(
    models: Mapping[str, keras.Model],
    profiles: Mapping[str, Mapping[str, Profile]],
    held: Batches,
    labels: np.ndarray,
) -> list[str]:
    parts = [_overview(profiles, labels)]
    if len(models) > 1:
        parts.append(_comparison(profiles))
    parts.append(_layers(profiles))
    sizes = {name: _weights_of(model) for name, model in models.items()}
    if len(set(sizes.values())) > 1 and min(sizes.values()) > 0:
        parts.append(_sizes(profiles, sizes))
    for name, model in models.items():
        parts.append(_neurons(name, model, profiles[name], held, labels))
    return parts


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _overview(profiles: Mapping[str, Mapping[str, Profile]], labels: np.ndarray) -> str:
    features, counts = np.unique(labels, return_counts=True)
    rows = [
        {"feature": str(f), "labels": int(n)}
        for f, n in zip(features, counts, strict=True)
    ]
    first = next(iter(next(iter(profiles.values())).values()))
    sampled = (
        "All figures are from all of them."
        if first.sampled == first.inputs
        else f"K-S, false killing rate and tail are from a random {first.sampled:,} of "
        f"them; K-S is known within ±{first.ks_error:.2f}."
    )
    return _section(
        "The inputs",
        _p(
            f"{first.inputs:,} inputs of {len(features)} features (a sample's label "
            f"holds for all of its positions). {sampled} φ is the "
            "squared distance of an activation from its neuron's mean, in variances: 1 "
            "on average, large where the neuron does something unusual. A neuron's own "
            "feature ℓ* is the one with the largest mean φ; that mean is 1 for a "
            "neuron that treats all features alike."
        ),
        _table(Table(["feature", "labels"], rows)),
    )


def _comparison(profiles: Mapping[str, Mapping[str, Profile]]) -> str:
    table = compare(profiles)
    reference = next(iter(profiles))
    sentences = []
    for row in table:
        if row["effect"] is None:
            continue
        unclear = row["effect_low"] <= 0 <= row["effect_high"]
        more = "more" if row["effect"] > 0 else "less"
        sentences.append(
            f"{row['model']}, {row['layer']}: "
            + (
                "no clear difference"
                if unclear
                else f"neurons are {more} monosemantic than in {reference}"
            )
            + f" (δ = {row['effect']:+.2f})."
        )
    return _section(
        "The models side by side",
        *[_p(s) for s in sentences],
        _table(table),
        _p(
            "effect is Cliff's δ with its 95 % interval over neurons. It compares "
            "these networks; whether training does this in general, only several seeds "
            "tell."
        ),
        _table(compare_measures(profiles)),
        _p(
            "Means of each measure over the neurons, those under permuted labels, and "
            "the change of the mean with its 95 % interval over neurons. What the "
            "measures are stands below."
        ),
    )


def _layers(profiles: Mapping[str, Mapping[str, Profile]]) -> str:
    curves = {
        (layer if len(profiles) == 1 else f"{name}, {layer}"): found
        for name, layers in profiles.items()
        for layer, found in layers.items()
    }
    return _section(
        "The layers",
        _figure(
            plots.phi_by_layer(profiles),
            "Mean φ of each neuron's own feature; bars span the middle half of the "
            "neurons. Higher is more monosemantic.",
        ),
        _figure(
            plots.ks_by_layer(profiles),
            "How far the distribution of φ on the own feature lies from that on all "
            "inputs: 0 is no difference.",
        ),
        _figure(
            plots.fkr_by_fraction(curves),
            "Of the activations that a threshold selects, the share on another feature "
            "than the neuron's own. The dotted line is blind selection.",
        ),
    )


def _weights_of(model: keras.Model) -> int:
    """How many weights a model has without layers of this library."""
    layers = named_layers(model).values()
    ours = [x for x in layers if isinstance(x, RunningStatistics)]
    not_its_own = {id(v) for layer in ours for v in layer.variables}
    return sum(math.prod(v.shape) for v in model.weights if id(v) not in not_its_own)


def _sizes(
    profiles: Mapping[str, Mapping[str, Profile]], sizes: Mapping[str, int]
) -> str:
    return _section(
        "By size",
        _p(
            "; ".join(f"{name}: {size:,} weights" for name, size in sizes.items()) + "."
        ),
        _figure(
            plots.phi_by_size(profiles, sizes),
            "Mean φ of each neuron's own feature, by the size of the model; a thin "
            "line a layer. Whether larger models of your kind are less monosemantic, "
            "only several seeds of each tell.",
        ),
        _figure(
            plots.ks_by_size(profiles, sizes),
            "How far the distribution of φ on the own feature lies from that on all "
            "inputs, by size.",
        ),
    )


def _neurons(
    name: str,
    model: keras.Model,
    layers: Mapping[str, Profile],
    held: Batches,
    labels: np.ndarray,
) -> str:
    parts = []
    for layer, found in layers.items():
        shown = found.scores.ranking()[:_SHOWN_NEURONS]
        of_each = {int(n): _strongest_features(found, n) for n in shown}
        few = _some_of_each_feature(labels, np.unique([*of_each.values()]))
        z = activations(model, held.some(few), [layer], masked=np.nan)[layer]
        inputs = label_of_inputs(labels[few], z.shape[:-1])
        z = z.reshape(-1, z.shape[-1])
        parts += [
            f"<h3>{html.escape(layer)}</h3>",
            _figure(
                plots.feature_heat_map(found.scores),
                "The most monosemantic neurons from the top; dark is a large φ, the "
                "dot marks the neuron's own feature.",
            ),
            *_measures(found),
        ]
        for neuron, features in of_each.items():
            here = np.isin(inputs, features)
            caption = (
                f"What neuron {neuron}, one of the first, gives on each feature: "
                "quartiles, 1st and 99th percentile, mean as a dot. Boxes that lie "
                "on one line: it answers to a few inputs only."
            )
            if len(features) < len(found.scores.features):
                caption += f" Only the {len(features)} features with its largest φ."
            picture = plots.neuron_response(z[here], inputs[here], neuron)
            parts.append(_figure(picture, caption))
    return _section(f"The neurons of {name}", *parts)


def _measures(found: Profile) -> list[str]:
    return [
        _table(measure_table(found, _IN_TABLE)),
        _p(
            "Measures of these neurons; in parentheses, by chance: the labels are "
            "permuted. A neuron selects a feature only as far as the value lies above "
            "chance: one that answers to a single input has a class selectivity of 1 "
            "either way. φ tail: mean of the 2 % largest φ. Class selectivity: 0 for "
            "equal responses to all features, 1 for responses to one. Class purity: of "
            "the inputs with an activation above 0, the share of the most frequent "
            "feature. MonoScore: how often two inputs that activate the neuron have "
            "the same feature. Hoyer and Treves–Rolls: 0 for the same activation "
            "everywhere, 1 for one input only. Wasserstein: distance to a normal "
            "distribution, in standard deviations."
        ),
        _figure(
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


def _some_of_each_feature(labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Random samples for a picture, with all features in equal numbers if possible."""
    by_sample, rng = labels.reshape(len(labels), -1), np.random.default_rng(0)
    each = -(-_SHOWN_INPUTS // len(features))
    chosen = [
        rng.permutation(np.flatnonzero((by_sample == f).any(axis=1)))[:each]
        for f in features
    ]
    return np.unique(np.concatenate(chosen))


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(heading)}</h2>{''.join(parts)}</section>"


def _p(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(table: Table) -> str:
    return f'<div class="table">{table._repr_html_()}</div>'


def _figure(figure: Any, caption: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=144)
    image = base64.b64encode(stream.getvalue()).decode()
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{image}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
