from typing import Any

import numpy as np

from keras_mono._internal.table import Table
from keras_mono.analysis.compare import mean_known
from keras_mono.analysis.measure_agreement import measures_of, title_of
from keras_mono.analysis.profile import Profile


def measure_table(found: Profile, neurons: int) -> Table:
    """The measures of the most monosemantic neurons, and their means over all.

    Args:
        found: From `profile`.
        neurons: How many to show.

    Returns:
        A `Table`, a row a neuron and one of means. "by chance" is the value of the
        column before it under permuted labels.
    """
    columns: dict[str, np.ndarray] = {}
    for name, values in measures_of(found).items():
        columns[title_of(name)] = values
        if name in found.permuted:
            columns[f"{title_of(name)}, by chance"] = found.permuted[name]
    rows: list[dict[str, Any]] = [
        {
            "neuron": str(neuron),
            "own feature": str(found.scores.best_feature[neuron]),
            **{title: float(values[neuron]) for title, values in columns.items()},
        }
        for neuron in found.scores.ranking()[:neurons]
    ]
    means = {title: mean_known(values) for title, values in columns.items()}
    rows.append({"neuron": f"mean of {len(found.ks):,}", "own feature": "", **means})
    return Table(list(rows[0]), rows)
