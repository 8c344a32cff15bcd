"""The table and the picture of quickstart.py."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

COLOURS = {"plain": "#0072B2", "inhibition": "#D55E00"}
LINES = {"plain": "-", "inhibition": "--"}
FIGURES = {
    "top1": ("largest φ of a sample", 1, ".1f"),
    "threshold": ("φ that 2 % exceed", 1, ".2f"),
    "tail": ("activations with φ ≥ 9, %", 100, ".2f"),
    "kurtosis": ("kurtosis (mean of φ²)", 1, ".1f"),
    "inhibited": ("activations inhibited, %", 100, ".2f"),
}
# Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom.
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass
class Run:
    """One training: its test accuracy, the monitor's rows, and φ on the test data."""

    condition: str
    seed: int
    accuracy: float
    rows: list
    activations: dict
    phi: dict

    def last(self, layer: str, figure: str) -> float:
        rows = [row for row in self.rows if row["layer"] == layer]
        return rows[-1].get(figure, float("nan"))


def of(runs, condition):
    return [run for run in runs if run.condition == condition]


def interval(values):
    """Mean and half the width of its 95 % interval; the half is NaN for one value."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), float("nan")
    t = STUDENT_T[min(n - 2, len(STUDENT_T) - 1)]
    return float(np.mean(values)), float(t * np.std(values, ddof=1) / np.sqrt(n))


def spread(values, digits):
    values = np.asarray(values)
    if np.isnan(values).all():
        return "–"
    text = f"{values.mean():{digits}}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):{digits}}"


def print_report(runs, console):
    plain, inhibited = of(runs, "plain"), of(runs, "inhibition")
    table = Table(
        title=f"After training, {len(plain)} seeds (mean ± standard deviation)",
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("figure on the test digits")
    table.add_column("plain", justify="right")
    table.add_column("inhibition", justify="right")
    table.add_row(
        "",
        "test accuracy, %",
        *(
            spread([100 * run.accuracy for run in group], ".2f")
            for group in (plain, inhibited)
        ),
        end_section=True,
    )
    for layer in plain[0].phi:
        for figure, (label, scale, digits) in FIGURES.items():
            cells = [
                spread([scale * run.last(layer, figure) for run in group], digits)
                for group in (plain, inhibited)
            ]
            table.add_row(layer, label, *cells, end_section=figure == "inhibited")
    console.print(table)
    console.print(verdict(plain, inhibited))


def verdict(plain, inhibited):
    """What the paired seeds say about accuracy, and no more."""
    gains = [
        100 * (b.accuracy - a.accuracy) for a, b in zip(plain, inhibited, strict=True)
    ]
    mean, half = interval(gains)
    if np.isnan(half):
        return (
            f"Accuracy with inhibition: {mean:+.2f} points in one seed. One is no test."
        )
    says = (
        "no difference that these seeds can show"
        if abs(mean) <= half
        else f"{'better' if mean > 0 else 'worse'} in these seeds"
    )
    return (
        f"Accuracy with inhibition minus plain, same seeds: {mean:+.2f} points, "
        f"95 % interval {mean - half:+.2f} to {mean + half:+.2f}: {says}."
    )


def draw(runs, x_test, y_test):
    figure = Figure(figsize=(13, 8.2), layout="constrained")
    figure.suptitle("Monosemantic neurons on handwritten digits", fontsize=15)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    left, middle, right = top.subplots(1, 3, width_ratios=(1, 1, 0.8))
    layer = next(iter(runs[0].phi))
    _draw_tail(left, runs, layer)
    _draw_training(middle, runs, layer)
    _draw_accuracy(right, runs)
    halves = bottom.subfigures(1, 2)
    for half, condition in zip(halves, COLOURS, strict=True):
        _draw_neuron(half, of(runs, condition)[0], layer, x_test, y_test)
    return figure


def _plainly(axes, title):
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _draw_tail(axes, runs, layer):
    for condition, colour in COLOURS.items():
        for index, run in enumerate(of(runs, condition)):
            phi = np.sort(run.phi[layer].ravel())[::-1]
            share = np.arange(1, len(phi) + 1) / len(phi)
            axes.loglog(
                phi,
                share,
                LINES[condition],
                color=colour,
                alpha=0.8,
                linewidth=1.1,
                label=condition if index == 0 else None,
            )
    axes.axvline(9, color="black", linewidth=0.8, linestyle=":")
    axes.annotate("3 standard\ndeviations", (9.6, 0.55), fontsize=8, va="top")
    axes.set_xlim(1, None)
    axes.set_ylim(1e-5, 1)
    axes.set_xlabel("φ (squared deviation / variance)")
    axes.set_ylabel("share of activations beyond")
    axes.legend(frameon=False, loc="lower left")
    _plainly(axes, f"How far activations stray ({layer} hidden layer)")


def _draw_training(axes, runs, layer):
    for condition, colour in COLOURS.items():
        curves = np.array(
            [
                [row["top1"] for row in run.rows if row["layer"] == layer]
                for run in of(runs, condition)
            ]
        )
        epochs = np.arange(1, curves.shape[1] + 1)
        axes.plot(epochs, curves.T, LINES[condition], color=colour, alpha=0.35, lw=0.9)
        axes.plot(
            epochs,
            curves.mean(axis=0),
            LINES[condition],
            color=colour,
            lw=2.2,
            label=condition,
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("largest φ of a sample, mean over test digits")
    axes.legend(frameon=False)
    _plainly(axes, "The most monosemantic activation (thin: seeds)")


def _draw_accuracy(axes, runs):
    plain, inhibited = of(runs, "plain"), of(runs, "inhibition")
    for a, b in zip(plain, inhibited, strict=True):
        axes.plot([0, 1], [100 * a.accuracy, 100 * b.accuracy], color="grey", lw=0.9)
    for position, (condition, marker) in enumerate(
        (("plain", "o"), ("inhibition", "s"))
    ):
        values = [100 * run.accuracy for run in of(runs, condition)]
        axes.plot(
            [position] * len(values),
            values,
            marker,
            color=COLOURS[condition],
            markersize=7,
            markeredgecolor="white",
        )
    axes.set_xlim(-0.4, 1.4)
    axes.set_xticks([0, 1], ["plain", "inhibition"])
    axes.set_ylabel("test accuracy, %")
    _plainly(axes, "Accuracy, a line a seed")


def _draw_neuron(figure, run, layer, x_test, y_test):
    """The neuron with the heaviest tail: which digits drive it, and how strongly."""
    phi, z = run.phi[layer], run.activations[layer]
    neuron = int((phi**2).mean(axis=0).argmax())
    figure.suptitle(
        f"{run.condition}, seed {run.seed}: the neuron with the heaviest tail "
        f"(no. {neuron}, kurtosis {(phi[:, neuron] ** 2).mean():.0f})",
        fontsize=11,
        color=COLOURS[run.condition],
    )
    grid = figure.add_gridspec(2, 6, height_ratios=(2.4, 1))
    axes = figure.add_subplot(grid[0, :])
    rng = np.random.default_rng(0)
    axes.scatter(
        y_test + rng.uniform(-0.28, 0.28, len(y_test)),
        z[:, neuron],
        s=9,
        alpha=0.6,
        color=COLOURS[run.condition],
        linewidths=0,
    )
    axes.axhline(z[:, neuron].mean(), color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(10))
    axes.set_xlabel("digit")
    axes.set_ylabel("activation (dotted: mean)")
    _plainly(axes, "")
    for position, sample in enumerate(np.argsort(-z[:, neuron])[:6]):
        picture = figure.add_subplot(grid[1, position])
        picture.imshow(x_test[sample].reshape(8, 8), cmap="Greys")
        picture.set_xticks([])
        picture.set_yticks([])
        picture.set_title(f"{z[sample, neuron]:.1f}", fontsize=8, pad=2)
        if position == 0:
            picture.set_ylabel("strongest", fontsize=8)
