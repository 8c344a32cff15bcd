"""Pictures of the results: each claim, doses and responses, features by model size."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from evidence import paired
from evidence.arms import title
from evidence.claims import EIGHT, ENCOURAGING, IMAGE, LIGHT, RANDOM, STRONG
from evidence.details import by_dose
from evidence.extra import FRACTIONS
from evidence.results import BySeed, Results
from evidence.verdicts import CHANGES, NONE, OPEN, OPPOSITE, YES, Verdict

LOOKS = {
    YES: ("#0072B2", "o"),
    OPPOSITE: ("#D55E00", "X"),
    CHANGES: ("#D55E00", "X"),
    NONE: ("#009E73", "D"),
    OPEN: ("#888888", "s"),
}
MARKS = ("o", "s", "D", "^", "v", "P", "X", "*")


def claims(verdicts: Sequence[Verdict]) -> Figure:
    """Effects in margins; right of 0 as predicted; ticks: the smallest detectable."""
    parts = [
        (_headed(v) if found is v.found[0] else "", found, v.word)
        for v in verdicts
        for found in v.found
    ]
    figure = Figure(figsize=(11, 0.42 * len(parts) + 1.6), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-1, 1, color="#e8f3ee", zorder=0)
    seen = set()
    for place, (_, found, word) in enumerate(parts):
        color, marker = LOOKS[word]
        d, margin = found.difference, found.part.margin
        axes.errorbar(
            d.mean / margin,
            -place,
            xerr=[[(d.mean - d.low) / margin], [(d.high - d.mean) / margin]],
            color=color,
            marker=marker,
            markersize=8,
            capsize=3,
            label=None if word in seen else word,
        )
        seen.add(word)
        _tick(axes, found.smallest / margin, place, "#333333", "|")
        if found.part.theirs is not None:
            _tick(axes, found.part.theirs / margin, place, "#CC79A7", "*")
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_xscale("symlog", linthresh=2)
    axes.set_xlim(-100, 30)
    axes.set_xticks([-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{claim}{found.part.text}" for claim, found, _ in parts]
    axes.set_yticks(-np.arange(len(parts)), names, fontsize=8.5)
    axes.set_ylim(-len(parts) + 0.3, 0.7)
    axes.set_xlabel(
        "effect with 95 % interval, in margins (green band: counts as none); right of "
        "0 as predicted\n| smallest effect that the test shows with 80 % power    "
        "★ the paper's effect"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd")
    axes.legend(frameon=False, loc="lower left")
    return figure


def _headed(verdict: Verdict) -> str:
    """A line above the claim's first part."""
    topic = verdict.claim.topic
    return f"{verdict.number}. {topic[:1].upper()}{topic[1:]}\n"


def _tick(axes: Axes, x: float, place: int, color: str, marker: str) -> None:
    axes.plot(x, -place, color=color, marker=marker, markersize=9, linestyle="")


def doses(results: Results) -> Figure:
    """What a method does to the tail, and to the task."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    first, second = figure.subplots(1, 2)
    _of_mnist(first, results)
    _of_eight(second, results)
    for axes in (first, second):
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.axvline(0, color="#333333", linewidth=0.8)
        axes.set_xlabel("change of the tail of φ, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.5)
        axes.legend(frameon=False, fontsize=8)
    return figure


def _of_mnist(axes: Axes, results: Results) -> None:
    """One point an arm and network, with its interval."""
    axes.axhspan(-0.2, 0.2, color="#e8f3ee", zorder=0)
    colors = ("#888888", "#56B4E9", "#0072B2", "#D55E00", "#E69F00")
    for method, color in zip(
        ("memel", LIGHT, STRONG, ENCOURAGING, RANDOM), colors, strict=True
    ):
        label: str | None = title(method)
        for name, marker in zip(IMAGE, MARKS, strict=False):
            gain = results.gain(name, (method,), ("plain",), "test accuracy")
            if len(gain) < 2:
                continue
            lowered = results.lowered(name, method, "test tail").values()
            _point(axes, -np.mean(list(lowered)), gain, color, marker, label)
            label = None
    shapes = ", ".join(
        f"{sign} {name.removeprefix('mnist-')}"
        for sign, name in zip("●■◆", IMAGE, strict=True)
    )
    axes.set_title(f"MNIST ({shapes}); green: ± 0.2 points", fontsize=10)
    axes.set_ylabel("test accuracy against plain, points")


def _point(
    axes: Axes, x: float, gain: BySeed, color: str, marker: str, label: str | None
) -> None:
    d = paired.compare(np.array(list(gain.values())))
    axes.errorbar(
        x,
        d.mean,
        yerr=[[d.mean - d.low], [d.high - d.mean]],
        color=color,
        marker=marker,
        capsize=2,
        linestyle="",
        label=label,
    )


def _of_eight(axes: Axes, results: Results) -> None:
    """The penalty's weights, negative ones too, a line a network."""
    axes.axhspan(-1, 1, color="#e8f3ee", zorder=0)
    weights = (0.001, 0.003, 0.01, 0.03)
    for name, marker in zip(EIGHT, MARKS, strict=True):
        if not results.found[name][2]:
            continue
        x, y = [], []
        for sign in (-1, 1):
            methods = [f"phi:weight={sign * w:g}" for w in weights]
            falls, gains = by_dose(results, name, methods)
            found = [
                (-fall, float(np.mean(list(gain.values()))))
                for fall, gain in zip(falls[1:], gains[1:], strict=True)
            ]
            x += [each[0] for each in (found[::-1] if sign < 0 else [(0, 0), *found])]
            y += [each[1] for each in (found[::-1] if sign < 0 else [(0, 0), *found])]
        axes.plot(x, y, marker=marker, label=name.rpartition("/")[2], linewidth=1)
    axes.set_xscale("symlog", linthresh=100, linscale=2)
    axes.set_xticks([-75, -50, -25, 0, 25, 50, 100, 300, 1000])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("symlog", linthresh=2)
    axes.set_yticks([-100, -50, -20, -10, -5, -2, -1, 0, 1, 2])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(
        "Eight networks, the penalty's weight from -0.03 to 0.03; green: the margin",
        fontsize=10,
    )
    axes.set_ylabel("task against plain, margins")


def features(results: Results) -> Figure:
    """φ_ℓ* and K-S by model size, a line a seed; FKR by fraction, a line a size."""
    sizes = ("small", "medium", "large")
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)

    def of(size: str, name: str) -> BySeed:
        return results.figure(f"udhr-{size}", ("plain",), f"test {name}")

    weights = [float(np.mean(list(of(size, "parameters").values()))) for size in sizes]
    for axes, name, shown in ((first, "best phi", "φ_ℓ*"), (second, "K-S", "K-S")):
        by_size = [of(size, name) for size in sizes]
        for seed in sorted(set.intersection(*map(set, by_size))):
            values = [each[seed] for each in by_size]
            axes.plot(weights, values, color="#999999", linewidth=0.7)
        means = [np.mean(list(each.values())) for each in by_size]
        axes.plot(weights, means, color="#0072B2", marker="o", linewidth=2)
        axes.set_xscale("log")
        axes.set_xticks(weights)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(f"{shown} by size (mean, and each seed)", fontsize=10)
        axes.set_xlabel("weights of the model")
    looks = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#333333", "D", ":"))
    for size, (color, marker, line) in zip(sizes, looks, strict=True):
        rates = [
            np.mean(list(of(size, f"FKR at {fraction:g}").values()))
            for fraction in FRACTIONS
        ]
        third.plot(
            FRACTIONS, rates, color=color, marker=marker, linestyle=line, label=size
        )
    chance = np.mean(list(of(sizes[0], "FKR by chance").values()))
    third.axhline(chance, color="#999999", linewidth=1)
    third.annotate("chance", (FRACTIONS[0], chance), fontsize=8, va="bottom")
    third.axvline(0.02, color="#999999", linewidth=1, linestyle=":")
    third.set_xscale("log")
    third.set_title("False killing rate by fraction selected", fontsize=10)
    third.set_xlabel("fraction (dotted: L2E's 2 %)")
    third.legend(frameon=False, fontsize=9)
    for axes in (first, second, third):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
