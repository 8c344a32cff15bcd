"""Dose against response: what a method changes in the neurons, and in the task."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from evidence import paired
from manipulation.outcomes import Outcomes

# By color and marker: what a method is, positive and negative weights apart.
LOOKS = {
    "RD, naive (a), (b)": ("#999999", "s"),
    "RD, scale-invariant": ("#56B4E9", "D"),
    "L2E penalty": ("#D55E00", "X"),
    "penalty relative": ("#000000", "^"),
    "penalty phi": ("#0072B2", "o"),
    "penalty log_phi": ("#009E73", "P"),
    "penalty, negative weight": ("#CC79A7", "v"),
    "random activations": ("#E69F00", "*"),
}
KINDS = {
    "rd": "RD, naive (a), (b)",
    "naive-a": "RD, naive (a), (b)",
    "naive-b": "RD, naive (a), (b)",
    "rd-si": "RD, scale-invariant",
    "l2e": "L2E penalty",
    "phi": "penalty phi",
    "log_phi": "penalty log_phi",
    "relative": "penalty relative",
    "phi-random": "random activations",
    "relative-random": "random activations",
    "rd-random": "random activations",
}


def kind(method: str) -> str:
    if ":weight=-" in method:
        return "penalty, negative weight"
    return KINDS[method.partition(":")[0]]


def dose_and_response(found: Outcomes) -> Figure:
    """One point a method and network, with 95 % intervals."""
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, dose, name in zip(
        panels,
        ("tail", "selectivity"),
        ("tail of φ", "class selectivity, or φ_ℓ* − 1"),
        strict=True,
    ):
        for method in found.methods():
            if method != "plain":
                _points(axes, found, method, dose)
        _dress(axes)
        axes.set_xlabel(f"change of the {name}, % of plain")
    panels[0].set_ylabel("task, better than plain by so many margins\n(symmetric log)")
    handles, labels = panels[0].get_legend_handles_labels()
    kept = dict(zip(labels, handles, strict=True))
    figure.legend(
        [kept[name] for name in LOOKS if name in kept],
        [name for name in LOOKS if name in kept],
        loc="outside upper center",
        ncols=8,
        columnspacing=1.2,
        handletextpad=0.2,
        frameon=False,
    )
    return figure


def _points(axes: Axes, found: Outcomes, method: str, dose: str) -> None:
    color, marker = LOOKS[kind(method)]
    for network in found.networks:
        x = 100 * found.in_unit(network, method, dose)
        y = found.in_unit(network, method, "task", "margin")
        if len(x) < 2 or len(y) < 2:
            continue
        axes.errorbar(
            x.mean(),
            y.mean(),
            xerr=x.mean() - paired.interval(x)[0],
            yerr=y.mean() - paired.interval(y)[0],
            color=color,
            marker=marker,
            markersize=9 if marker == "*" else 6,
            markeredgecolor="white",
            markeredgewidth=0.5,
            elinewidth=0.7,
            alpha=0.85,
            linestyle="",
            label=kind(method),
        )


def _dress(axes: Axes) -> None:
    axes.axhspan(-1, 1, color="#eeeeee", zorder=0)
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yscale("symlog", linthresh=2)
    axes.set_ylim(-300, 10)
    axes.set_xscale("symlog", linthresh=100, linscale=2)
    axes.set_xlim(-100, 1000)
    for axis, ticks in (
        (axes.yaxis, [-200, -100, -50, -20, -10, -5, -2, -1, 0, 1, 2, 5]),
        (axes.xaxis, [-75, -50, -25, 0, 25, 50, 100, 300, 800]),
    ):
        axis.set_ticks(ticks)
        axis.set_major_formatter(FuncFormatter(_signed))
        axis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.5)


def _signed(value: float, _: int) -> str:
    return f"{value:+g}".replace("-", "−") if np.abs(value) > 0 else "0"
