"""The table and the picture of quickstart.py."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

WAYS = {  # their titles, colours, lines and marks
    "plain": ("plain", "#0072B2", "-", "o"),
    "inhibition": ("paper's inhibition", "#D55E00", "--", "s"),
    "penalty": ("scale-invariant penalty", "#007a5e", "-.", "^"),
}
DRAWN = "second"  # hidden layer
# Of the last measurement while training: title, format.
FIGURES = {
    "threshold": ("φ that 2 % exceed", ".2f"),
    "top1": ("largest φ of a digit", ".1f"),
}
# Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass
class Run:
    """One training: test accuracy, the monitor's rows, and the neurons at its end."""

    way: str
    seed: int
    accuracy: float
    rows: list
    activations: dict
    selectivity: dict  # class selectivity index of each neuron

    def last(self, layer: str, figure: str) -> float:
        return self.course(layer, figure)[-1]

    def course(self, layer: str, figure: str) -> list[float]:
        """A figure after each epoch."""
        rows = [row for row in self.rows if row["layer"] == layer]
        return [row.get(figure, float("nan")) for row in rows]

    def class_selectivity(self, layer: str) -> float:
        return float(np.nanmean(self.selectivity[layer]))


def of(runs, way):
    return [run for run in runs if run.way == way]


def interval(values):
    """Mean and half the width of its 95 % interval; the half is NaN for one value."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), float("nan")
    t = STUDENT_T[min(n - 2, len(STUDENT_T) - 1)]
    return float(np.mean(values)), float(t * np.std(values, ddof=1) / np.sqrt(n))


def spread(values, digits):
    values = np.asarray(values)
    text = f"{values.mean():{digits}}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):{digits}}"


def print_report(runs, console):
    table = Table(
        title=f"After training, {len(of(runs, 'plain'))} seeds "
        "(mean ± standard deviation)",
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("on the test digits")
    for title, *_ in WAYS.values():
        table.add_column(title, justify="right")

    def add(layer, title, values, digits, **options):
        cells = [spread([values(run) for run in of(runs, way)], digits) for way in WAYS]
        table.add_row(layer, title, *cells, **options)

    add("", "accuracy, %", lambda run: 100 * run.accuracy, ".2f", end_section=True)
    for layer in runs[0].selectivity:
        for figure, (title, digits) in FIGURES.items():
            add(layer, title, partial(Run.last, layer=layer, figure=figure), digits)
        selectivity = partial(Run.class_selectivity, layer=layer)
        add(layer, "selectivity (CSI)", selectivity, ".3f", end_section=True)
    console.print(table)
    for way in list(WAYS)[1:]:
        console.print(verdict(runs, way))


def verdict(runs, way):
    """What the paired seeds say about accuracy, and no more."""
    gains = [
        100 * (b.accuracy - a.accuracy)
        for a, b in zip(of(runs, "plain"), of(runs, way), strict=True)
    ]
    mean, half = interval(gains)
    title = WAYS[way][0]
    if np.isnan(half):
        return f"Accuracy, {title}: {mean:+.2f} points in one seed. One is no test."
    says = (
        "no difference that these seeds can show"
        if abs(mean) <= half
        else f"{'better' if mean > 0 else 'worse'} in these seeds"
    )
    return (
        f"Accuracy, {title} minus plain: {mean:+.2f} points, "
        f"95 % interval {mean - half:+.2f} to {mean + half:+.2f}: {says}."
    )


def draw(runs, y_test):
    """Tail, selectivity and accuracy; what all neurons answer to; and one of them."""
    figure = Figure(figsize=(13, 11), layout="constrained")
    figure.suptitle(
        f"Handwritten digits in three ways: the {DRAWN} hidden layer", fontsize=15
    )
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(1, 1, 0.8))
    left, center, right = top.subplots(1, 3, width_ratios=(1.2, 1, 1))
    _draw_training(left, runs)
    _draw_pairs(
        center,
        runs,
        lambda run: run.class_selectivity(DRAWN),
        "class selectivity index, mean",
        "Selectivity: one line per seed",
    )
    _draw_pairs(
        right,
        runs,
        lambda run: 100 * run.accuracy,
        "test accuracy, %",
        "Accuracy: one line per seed",
    )
    _draw_all_neurons(middle, runs, y_test)
    _draw_a_neuron(bottom, runs, y_test)
    return figure


def _plainly(axes, title):
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _draw_training(axes, runs):
    for way, (title, colour, line, _) in WAYS.items():
        curves = np.array([run.course(DRAWN, "threshold") for run in of(runs, way)])
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, curves.T, line, color=colour, alpha=0.35, lw=0.9)
        mean = curves.mean(axis=0)
        axes.plot(epochs, mean, line, color=colour, lw=2.2, label=title)
    axes.set_xlabel("epoch")
    axes.set_ylabel("φ that 2 % of the activations exceed")
    axes.legend(frameon=False, fontsize=9)
    _plainly(axes, "The tail of φ (thin: seeds)")


def _draw_pairs(axes, runs, value, label, title):
    found = np.array([[value(run) for run in of(runs, way)] for way in WAYS])
    axes.plot(range(len(WAYS)), found, color="grey", lw=0.8)
    for position, (_, colour, _, mark) in enumerate(WAYS.values()):
        values = found[position]
        looks = {"color": colour, "markeredgecolor": "white", "markersize": 7}
        axes.plot([position] * len(values), values, mark, **looks)
    axes.set_xlim(-0.4, len(WAYS) - 0.6)
    titles = [title.replace(" ", "\n", 1) for title, *_ in WAYS.values()]
    axes.set_xticks(range(len(WAYS)), titles, fontsize=9)
    axes.set_ylabel(label)
    _plainly(axes, title)


def _class_means(run, y_test):
    """Mean activation by digit and neuron, in shares of the neuron's largest."""
    z = run.activations[DRAWN]
    means = np.stack([z[y_test == digit].mean(axis=0) for digit in range(10)])
    largest = means.max(axis=0)
    return np.divide(means, largest, out=0 * means, where=largest > 0)


def _draw_all_neurons(figure, runs, y_test):
    """Sorted by the digit that each answers to most, and how much it does alone."""
    seed = runs[0].seed
    figure.suptitle(
        f"What each neuron answers to (seed {seed}): its mean activation by digit, "
        "1 for the largest",
        fontsize=11,
    )
    every = figure.subplots(1, len(WAYS), sharey=True)
    for axes, (way, (title, colour, *_)) in zip(every, WAYS.items(), strict=True):
        run = of(runs, way)[0]
        means = _class_means(run, y_test)
        selectivity = np.nan_to_num(run.selectivity[DRAWN], nan=-1.0)
        alive = means.max(axis=0) > 0
        order = np.lexsort((-selectivity, means.argmax(axis=0), ~alive))
        means = np.where(alive, means, np.nan)[:, order]
        shown = axes.imshow(means, aspect="auto", cmap="viridis", vmin=0, vmax=1)
        axes.set_title(
            f"{title}: selectivity {run.class_selectivity(DRAWN):.2f}",
            fontsize=11,
            color=colour,
        )
        axes.set_yticks(range(10))
        axes.set_xlabel(
            f"neurons, by their digit ({np.sum(~alive)} never active: last)"
        )
    every[0].set_ylabel("digit")
    figure.colorbar(shown, ax=every, shrink=0.9, pad=0.01)


def _most_selective(runs):
    """Of the neurons of the plain network that are often active in each network."""
    active = [(of(runs, way)[0].activations[DRAWN] > 0).mean(axis=0) for way in WAYS]
    often = np.min(active, axis=0) > 0.05
    return int(np.where(often, of(runs, "plain")[0].selectivity[DRAWN], -1).argmax())


def _draw_a_neuron(figure, runs, y_test):
    """The same neuron, by its place in the layer, in each of the networks."""
    neuron = _most_selective(runs)
    figure.suptitle(
        f"One neuron from the same start (no. {neuron}, the most selective of the "
        "plain network): each point a test digit",
        fontsize=11,
    )
    rng = np.random.default_rng(0)
    places = y_test + rng.uniform(-0.28, 0.28, len(y_test))
    every = figure.subplots(1, len(WAYS))
    for axes, (way, (_, colour, *_)) in zip(every, WAYS.items(), strict=True):
        run = of(runs, way)[0]
        z = run.activations[DRAWN][:, neuron]
        axes.scatter(places, z, s=8, alpha=0.6, color=colour, linewidths=0)
        axes.axhline(z.mean(), color="black", linewidth=0.8, linestyle=":")
        axes.set_xticks(range(10))
        axes.set_xlabel("digit")
        _plainly(axes, f"selectivity {run.selectivity[DRAWN][neuron]:.2f}")
    every[0].set_ylabel("activation (dotted: mean)")
