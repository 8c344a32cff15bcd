"""A self-contained HTML page about the neurons of one or several models.

It shows how monosemantic the layers are and for which features, the false killing rate
by fraction, the differences of several models, and a view of every neuron: its
strongest inputs, its response by feature and its measures.

Errors are those of `profile` and `compare`. A path that cannot be written to is an
error before any work. It needs Jinja2, matplotlib and scipy, the extra `analysis`.

`shown` holds one entry per sample: images, an array `(samples, height, width)` or
`(samples, height, width, 1, 3 or 4)`; texts, in which a position is a character; or
lists of texts, one a position, as of `LabelledTexts.byte_pieces`. Without it, inputs
that are images or whole numbers are shown as such, of others the first numbers.

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

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import Batches, check, pairs
from keras_mono._internal.model_layers import find_layers, monosemantic_layers
from keras_mono._internal.recording.record import check_outputs
from keras_mono.analysis.batch_labels import labels_in
from keras_mono.analysis.labelled import as_labels
from keras_mono.analysis.page.contents import contents
from keras_mono.analysis.page.rendering import as_json, page
from keras_mono.analysis.page.sections import Section, sections
from keras_mono.analysis.page.shown import Shown
from keras_mono.analysis.page.strongest import Activity, activity
from keras_mono.analysis.page_file import replacing
from keras_mono.analysis.profile import Profile, profile

_KEPT_SAMPLES = 5000
_KEPT_ENTRIES = 2**24  # activations of a layer


def report(
    models: keras.Model | Mapping[str, keras.Model],
    data: Any,
    labels: Any,
    layers: Sequence[str] | Mapping[str, Sequence[str]],
    path: str | Path | None = "report.html",
    title: str = "What the neurons answer to",
    batch_size: int = 128,
    verbose: int = 1,
    steps: int | None = None,
    *,
    json: str | Path | None = None,
    top: int = 6,
    shown: Any = None,
) -> Path:
    """Write a page about the neurons of one model, or of several side by side.

    Args:
        models: A model, or name to model; the first is the reference.
        data: The models' inputs, as for `activations`. Batches are read once and kept.
        labels: The feature of each sample or position. None: the targets of `data`.
        layers: Names of layers, or a model's name to its layers' names.
        path: Where to write the page. None: no page, `json` only.
        title: Heading of the page.
        batch_size: Samples per forward pass.
        verbose: 1 shows progress bars, 0 nothing.
        steps: How many batches of `data` to take. None: all.
        json: Where to write what the page holds as JSON. None: nowhere.
        top: How many of its strongest inputs to show for a neuron.
        shown: What to show for a sample, see above. None: what `data` looks like.

    Returns:
        The path of the page, or of the JSON file if there is no page.
    """
    check(data, batch_size, steps)
    made = _Report(models, layers, batch_size, verbose, steps)
    with _writing(path, json) as write:
        made.measure(data, labels, shown, top)
        write(title, made)
    return next(Path(p) for p in (path, json) if p is not None)


@contextmanager
def _writing(
    path: str | Path | None, json: str | Path | None
) -> Iterator[Callable[[str, "_Report"], None]]:
    """A function that writes the page and the JSON file.

    Raises:
        ValueError: before any work, for a path that cannot be written to.
    """
    paths = [Path(p) for p in (path, json) if p is not None]
    if len({p.absolute() for p in paths}) != 1 + (None not in (path, json)):
        raise ValueError(
            "A report needs `path`, where to write the page, or `json`, or both, which "
            f"must differ. Received: path={path!r}, json={json!r}."
        )
    with ExitStack() as stack:
        writes = [stack.enter_context(replacing(p)) for p in paths]

        def write(title: str, made: _Report) -> None:
            content = made.contents(title)
            if path is not None:
                writes[0](page(content, made.sections()))
            if json is not None:
                writes[-1](as_json(content).encode("utf-8"))

        yield write


class _Report:
    """Models, and what was measured of them."""

    def __init__(
        self, models: Any, layers: Any, batch_size: int, verbose: int, steps: int | None
    ) -> None:
        self.models = _named_models(models)
        self.layers = _layers_of_each(layers, list(self.models))
        self.options: dict[str, Any] = {
            "batch_size": batch_size,
            "verbose": verbose,
            "steps": steps,
        }

    def measure(self, data: Any, labels: Any, shown: Any, top: int) -> None:
        top = validation.positive_integer("top", top, "of inputs")
        batch_size, steps = self.options["batch_size"], self.options["steps"]
        for name, model in self.models.items():
            check_outputs(find_layers(model, self.layers[name]))
        held = Batches(pairs(data, batch_size, steps))
        self.shown = Shown(held, shown, more=steps is not None)
        known = _labels_of(held) if labels is None else as_labels(labels)
        self.profiles = {
            name: profile(model, held, known, self.layers[name], **self.options)
            for name, model in self.models.items()
        }
        self.labels = known[: held.samples()]  # `steps` may take fewer
        self.seen = _seen(self.models, self.profiles, held, self.labels, top)
        self.sizes = {name: _weights_of(model) for name, model in self.models.items()}

    def contents(self, title: str) -> dict[str, Any]:
        measured = self.profiles, self.seen, self.labels
        return contents(title, *measured, self.shown, self.sizes)

    def sections(self) -> list[Section]:
        return sections(self.profiles, self.seen, self.labels, self.sizes)


def _seen(
    models: Mapping[str, Any],
    profiles: Mapping[str, Mapping[str, Profile]],
    held: Batches,
    labels: np.ndarray,
    top: int,
) -> dict[str, dict[str, Activity]]:
    """What each model's layers give; the same samples are kept of each."""
    largest = max(
        found.inputs * len(found.ks)
        for layers in profiles.values()
        for found in layers.values()
    )
    most = min(_KEPT_SAMPLES, _KEPT_ENTRIES * len(labels) // largest)
    few = some_of_each_feature(labels, max(most, 1))
    return {
        name: activity(model, held, labels, list(profiles[name]), few, top)
        for name, model in models.items()
    }


def some_of_each_feature(labels: np.ndarray, most: int = _KEPT_SAMPLES) -> np.ndarray:
    """Random samples, about `most`, with all features in equal numbers if possible."""
    by_sample, rng = labels.reshape(len(labels), -1), np.random.default_rng(0)
    features = np.unique(labels)
    each = -(-most // len(features))
    chosen = [
        rng.permutation(np.flatnonzero((by_sample == f).any(axis=1)))[:each]
        for f in features
    ]
    return np.unique(np.concatenate(chosen))


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


def _weights_of(model: keras.Model) -> int:
    """How many weights a model has without layers of this library."""
    ours = monosemantic_layers(model).values()
    not_its_own = {id(v) for layer in ours for v in layer.variables}
    return sum(math.prod(v.shape) for v in model.weights if id(v) not in not_its_own)


def _labels_of(held: Batches) -> np.ndarray:
    found = [labels_in(targets) for _, targets in held]
    if len({labels.shape[1:] for labels in found}) > 1:
        raise ValueError(
            "A report needs labels of one form. Received: batches of labels of shapes "
            f"{sorted({labels.shape[1:] for labels in found})} beside the samples. Pad "
            "the inputs to one length."
        )
    return np.concatenate(found)
