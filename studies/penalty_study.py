"""What the penalty does at several weights, on handwritten digits, from paired seeds.

    python studies/penalty_study.py [--form phi] [--seeds 5] [--picture FILE]

The networks of a seed start from the same weights and see the same batches; they differ
in the weight of `MonosemanticPenalty`, and at weight 0 the training is the plain one.
After training, φ of held-out activations is taken against those activations' own mean
and variance: shrinking all activations does not change it.
"""

import argparse
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_mono as km

WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
FORMS = ("l2e", "phi", "log_phi")
HIDDEN = ("first", "second")
OF_LAYER = ("tail of φ", "class selectivity", "scale")
FRACTION = 0.02
# Student's t, 97.5 % quantile, by degrees of freedom from 1 to 15.
T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", choices=FORMS, default="l2e")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    parser.add_argument(
        "--where", nargs="+", choices=HIDDEN, default=HIDDEN, help="layers to penalize"
    )
    parser.add_argument("--json", type=Path, help="write everything measured here")
    parser.add_argument("--picture", type=Path, help="draw the table here")
    given = parser.parse_args()
    data = digits()
    model = build(given.form)
    first = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    runs = []
    weights = dict.fromkeys([0.0, *given.weights])  # plain first, each once
    tasks = [(seed, weight) for seed in range(given.seeds) for weight in weights]
    for seed, weight in track(tasks, "Training", transient=True):
        for variable, value in zip(model.optimizer.variables, first, strict=True):
            variable.assign(value)
        set_weights(model, weight, given.where, seed)
        train(model, seed, data, given.epochs)
        runs.append({"seed": seed, "weight": weight, **measure(model, data)})
    show(runs)
    if given.picture:
        draw(runs, given.where).savefig(given.picture, dpi=150)
    if given.json:
        found = {"about": about(given), "runs": runs}
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def digits() -> list[np.ndarray]:
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    return train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)


def build(form: str) -> keras.Model:
    layers = [keras.Input((64,))]
    for name, units in zip(HIDDEN, (128, 64), strict=True):
        layers.append(keras.layers.Dense(units, activation="relu"))
        penalty = km.layers.MonosemanticPenalty(select=FRACTION, form=form, name=name)
        layers.append(penalty)
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def set_weights(model, weight, where, seed) -> None:
    """New weights; the compiled model and its optimizer are used again."""
    keras.utils.set_random_seed(seed)
    fresh = [layer for layer in build("l2e").layers if layer.trainable_variables]
    used = [layer for layer in model.layers if layer.trainable_variables]
    for old, new in zip(used, fresh, strict=True):
        old.set_weights(new.get_weights())
    for name in HIDDEN:
        model.get_layer(name).reset()
        model.get_layer(name).weight = weight if name in where else 0.0


def train(model, seed, data, epochs) -> None:
    x_train, _, y_train, _ = data
    keras.utils.set_random_seed(seed)
    model.fit(x_train, y_train, batch_size=32, epochs=epochs, verbose=0)


def measure(model, data) -> dict:
    """Accuracy and loss, and figures of each hidden layer."""
    x_train, x_test, y_train, y_test = data
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    found = {"accuracy": 100 * accuracy, "loss": loss}
    parts = {"held out": (x_test, y_test), "training": (x_train, y_train)}
    for kind, (x, y) in parts.items():
        for name, z in km.analysis.activations(model, x, HIDDEN).items():
            found[f"{name}, tail of φ, {kind}"] = tail(z)
            found[f"{name}, scale, {kind}"] = float(z.std(axis=0).mean())
            found[f"{name}, dead, {kind}"] = float((z.std(axis=0) == 0).mean())
            selectivity = km.analysis.measures(z, y).class_selectivity
            found[f"{name}, class selectivity, {kind}"] = float(np.nanmean(selectivity))
    return found


def tail(z: np.ndarray) -> float:
    """Mean of the 2 % largest φ, against the mean and variance of `z` itself."""
    z = z.astype("float64")
    variance = z.var(axis=0, ddof=1)
    compensated = variance + 0.01 * variance.mean()
    squared = (z - z.mean(axis=0)) ** 2
    phi = np.divide(squared, compensated, out=0 * squared, where=compensated > 0)
    largest = np.sort(phi, axis=None)[::-1]
    return float(largest[: max(round(FRACTION * phi.size), 1)].mean())


def show(runs: list[dict]) -> None:
    figures = [
        "accuracy",
        "loss",
        *(f"{n}, {what}, held out" for n in HIDDEN for what in OF_LAYER),
    ]
    seeds = len({r["seed"] for r in runs})
    title = f"On held-out digits: plain, and the change against it, {seeds} seeds"
    table = Table(title=title, caption="in brackets: 95 % interval", show_lines=True)
    table.add_column("weight", justify="right")
    for figure in figures:
        table.add_column(figure.removesuffix(", held out"), justify="right")
    for weight in dict.fromkeys(r["weight"] for r in runs):
        if weight == 0:
            mine = [r for r in runs if r["weight"] == 0]
            cells = [f"{np.mean([r[f] for r in mine]):.3f}" for f in figures]
        else:
            found = [change(runs, weight, figure) for figure in figures]
            cells = [f"{m:+.3f}\n[{m - h:+.3f}, {m + h:+.3f}]" for m, h in found]
        table.add_row("plain" if weight == 0 else f"{weight:g}", *cells)
    console = Console()
    console.width = max(console.width, 150)
    console.print(table)


def change(runs: list[dict], weight: float, figure: str) -> tuple[float, float]:
    """Mean difference to plain training of the same seed, and half its interval."""
    plain = {r["seed"]: r[figure] for r in runs if r["weight"] == 0}
    mine = [r for r in runs if r["weight"] == weight]
    differences = [r[figure] - plain[r["seed"]] for r in mine]
    mean, n = float(np.mean(differences)), len(differences)
    if n < 2:
        return mean, math.nan
    half = T[min(n - 1, len(T)) - 1] * np.std(differences, ddof=1) / math.sqrt(n)
    return mean, float(half)


def draw(runs: list[dict], where: list[str]) -> Figure:
    """Change of tail, class selectivity, scale and accuracy by weight."""
    weights = sorted({r["weight"] for r in runs} - {0.0})
    panels = [
        ("tail of φ, held out", "Tail of φ (mean of the 2 % largest)", HIDDEN),
        ("class selectivity, held out", "Class selectivity (mean)", HIDDEN),
        ("scale, held out", "Scale (mean standard deviation)", HIDDEN),
        ("accuracy", "Test accuracy, points", ("",)),
    ]
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    looks = {"first": ("#0072B2", "o", "-"), "second": ("#D55E00", "s", "--")}
    for axes, (what, title, layers) in zip(figure.subplots(1, 4), panels, strict=True):
        for layer in layers:
            found = [
                change(runs, w, f"{layer}, {what}" if layer else what) for w in weights
            ]
            color, marker, line = looks.get(layer, ("#333333", "D", "-"))
            penalized = " (penalized)" if layer in where else ""
            axes.errorbar(
                weights,
                *zip(*found, strict=True),
                label=f"{layer} hidden layer{penalized}" if layer else None,
                color=color,
                marker=marker,
                linestyle=line,
                capsize=3,
            )
        axes.axhline(0, color="#999999", linewidth=1)
        axes.set_xscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("weight of the penalty")
        axes.set_ylabel("change against plain")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=9)
    return figure


def about(given: argparse.Namespace) -> dict:
    return {
        "backend": keras.config.backend(),
        "versions": {p: version(p) for p in ("keras", "numpy", "scikit-learn")},
        "python": platform.python_version(),
        "seeds": given.seeds,
        "form": given.form,
        "penalized": list(given.where),
        "epochs": given.epochs,
    }


if __name__ == "__main__":
    main()
