from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mono._internal.optional_imports import require
from keras_mono._internal.plotting.style import from_zero, look, plain

_PANELS = (
    ("top1", "Largest φ of a sample", "mean over samples", 1.0),
    ("threshold", "φ that 2 % of activations exceed", "φ", 1.0),
    ("tail", "Tail of φ", "mean of the largest 2 %", 1.0),
    ("kurtosis", "Kurtosis of the neurons", "mean of φ²", 1.0),
    ("scale", "Scale of the neurons", "relative to the first", 1.0),
    ("dead", "Dead neurons", "share without variance, %", 100.0),
    ("inhibited", "Activations inhibited", "share selected, %", 100.0),
    ("penalized", "Activations penalized", "share selected, %", 100.0),
    ("tau", "Moving threshold", "τ", 1.0),
    ("penalty", "Penalty", "in the loss, or mean φ of the selected", 1.0),
    ("non_finite", "Entries left out so far", "NaN, infinite or too large", 1.0),
)
_FAULTS = ("dead", "non_finite")  # not worth a panel while there are none


def tail_over_training(rows: Sequence[Mapping[str, Any]], unit: str = "epoch") -> Any:
    """The tail figures of every watched layer over training, one panel per figure.

    Args:
        rows: One mapping per layer and measurement with `layer`, `unit` (its number)
            and the figures, as in `MonosemanticityMonitor.rows`.
        unit: `"epoch"` or `"batch"`: what the horizontal axis counts.

    Returns:
        A matplotlib `Figure`, not shown and not registered with pyplot.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
        ValueError: if there is nothing to draw.

    Example:

    >>> row = dict(layer="a", epoch=0, top1=9.0, threshold=5.0, tail=7.2, kurtosis=3.0)
    >>> figure = km.analysis.plots.tail_over_training([row, {**row, "epoch": 1}])
    >>> [axes.get_title() for axes in figure.axes][0]
    'Largest φ of a sample'
    """
    panels = [p for p in _PANELS if any(_is_told(p[0], row) for row in rows)]
    if not panels:
        raise ValueError(
            f"Expected measurements with finite figures. Received {len(rows)} without. "
            "Train with the monitor first."
        )
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = require("matplotlib.figure").Figure(
        figsize=(4.2 * columns, 3.3 * lines), layout="constrained"
    )
    for position, panel in enumerate(panels):
        _draw(figure.add_subplot(lines, columns, position + 1), panel, rows, unit)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw(axes: Any, panel: Any, rows: Sequence[Mapping[str, Any]], unit: str) -> None:
    """One figure of every layer."""
    name, title, label, scale = panel
    for index, layer in enumerate(dict.fromkeys(r["layer"] for r in rows)):
        points = [r for r in rows if r["layer"] == layer and name in r]
        if points:
            axes.plot(
                [r[unit] + 1 for r in points],
                [scale * r[name] for r in points],
                label=plain(layer, 40),
                markersize=4,
                **look(index),
            )
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(unit)
    axes.set_ylabel(label)
    if axes.get_ylim()[0] > 0 or name != "penalty":
        from_zero(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)


def _is_told(figure: str, row: Mapping[str, Any]) -> bool:
    """Whether a measurement says something worth a panel."""
    value = row.get(figure, np.nan)
    return bool(np.isfinite(value)) and (figure not in _FAULTS or value > 0)
