"""Pictures of the results: each claim's effect, and features by model size."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from evidence.claims import Results, Verdict
from evidence.extra import FRACTIONS

LOOKS = {
    "supported": ("#0072B2", "o"),
    "contradicted": ("#D55E00", "X"),
    "no effect shown": ("#777777", "s"),
    "not shown": ("#777777", "D"),
}


def claims(verdicts: list[Verdict]) -> Figure:
    """Mean differences in their standard deviations; right of 0 as predicted."""
    parts = [
        (f"{number}. {v.claim.title}", text, difference, v.word)
        for number, v in enumerate(verdicts, 1)
        for text, difference in v.differences.items()
    ]
    figure = Figure(figsize=(11, 0.5 * len(parts) + 1.4), layout="constrained")
    axes = figure.subplots()
    seen = set()
    for place, (_, _, d, word) in enumerate(parts):
        color, marker = LOOKS[word]
        scale = d.deviation or 1.0
        axes.errorbar(
            d.mean / scale,
            -place,
            xerr=[[(d.mean - d.low) / scale], [(d.high - d.mean) / scale]],
            color=color,
            marker=marker,
            markersize=8,
            capsize=3,
            label=None if word in seen else word,
        )
        seen.add(word)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks([-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{claim}\n{text}" for claim, text, _, _ in parts]
    axes.set_yticks(-np.arange(len(parts)), names, fontsize=8)
    axes.set_xlabel(
        "mean paired difference in its standard deviations, with 95 % interval;\n"
        "right of 0: as predicted (claim 7: within its margin, not above 0)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#dddddd")
    axes.legend(frameon=False, loc="best")
    return figure


def features(results: Results) -> Figure:
    """φ_ℓ* and K-S by model size, a line a seed; FKR by fraction, a line a size."""
    sizes = ("small", "medium", "large")
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)

    def of(size: str, name: str) -> Mapping[int, float]:
        return results.figure(f"causal-{size}", ("plain",), name)

    weights = [float(np.mean(list(of(size, "parameters").values()))) for size in sizes]
    for axes, name, title in ((first, "best phi", "φ_ℓ*"), (second, "K-S", "K-S")):
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
        axes.set_title(f"{title} by size (mean, and each seed)", fontsize=10)
        axes.set_xlabel("weights of the model")
    marks = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#333333", "D", ":"))
    for size, (color, marker, line) in zip(sizes, marks, strict=True):
        rates = [
            np.mean(list(of(size, f"FKR at {fraction:g}").values()))
            for fraction in FRACTIONS
        ]
        third.plot(
            FRACTIONS, rates, color=color, marker=marker, linestyle=line, label=size
        )
    chance = np.mean(list(of("medium", "FKR by chance").values()))
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
