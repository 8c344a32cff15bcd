from collections.abc import Callable
from operator import itemgetter

import numpy as np

from keras_mono._internal.table import Table
from keras_mono._internal.visible_text import name_of
from keras_mono.analysis.known import mean_known
from keras_mono.analysis.measure_agreement import measures_of
from keras_mono.analysis.measure_words import title_of
from keras_mono.analysis.profile import Profile


def measure_table(found: Profile, neurons: int) -> Table:
    """The measures of the most monosemantic neurons, and their means over all.

    Args:
        found: From `profile`.
        neurons: How many to show.

    Returns:
        A `Table` of texts, a row a neuron and one of means. Values under permuted
        labels stand in parentheses.
    """
    rows: list[dict[str, str | None]] = [
        {
            "neuron": str(neuron),
            "own feature": _own_feature(found, neuron),
            **_cells(found, itemgetter(neuron)),
        }
        for neuron in found.scores.ranking()[:neurons]
    ]
    of_all = f"mean of {len(found.ks):,}"
    rows.append({"neuron": of_all, "own feature": None, **_cells(found, mean_known)})
    return Table(list(rows[0]), rows)


def _own_feature(found: Profile, neuron: int) -> str:
    if np.isnan(found.scores.best_phi[neuron]):
        return "–"
    return name_of(found.scores.best_feature[neuron])


def _cells(found: Profile, value: Callable[[np.ndarray], float]) -> dict[str, str]:
    cells = {}
    for name, values in measures_of(found).items():
        text = _text(value(values))
        if name in found.permuted:
            text += f" ({_text(value(found.permuted[name]))})"
        cells[title_of(name)] = text
    return cells


def _text(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"
