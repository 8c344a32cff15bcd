"""Train a small network on handwritten digits in three ways, and compare.

    python examples/quickstart.py [--seeds 5] [--epochs 15] [--output output]

Plain; with the paper's inhibition (`MonosemanticInhibition`); with the scale-invariant
penalty (`MonosemanticPenalty`); all by default. The networks of a seed start from the
same weights and see the same batches. The plain one holds `MonosemanticScale` where
the others hold their layer, so that all are measured in the same way.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_mono as km
from digits_report import Run, draw, print_report

WAYS = {
    "plain": km.layers.MonosemanticScale,
    "inhibition": km.layers.MonosemanticInhibition,
    "penalty": km.layers.MonosemanticPenalty,
}
WATCHED = ("first", "second")


def build(way: str) -> keras.Model:
    """Two hidden layers, each followed by a layer that measures or inhibits."""
    model = keras.Sequential([keras.Input((64,))])
    for name, units in zip(WATCHED, (128, 64), strict=True):
        model.add(keras.layers.Dense(units, activation="relu"))
        model.add(WAYS[way](name=name))
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def start_anew(model: keras.Model, seed: int) -> None:
    """Weights of the seed, and an optimizer that has seen nothing: no compilation."""
    keras.utils.set_random_seed(seed)
    fresh = build("plain")
    for old, new in zip(
        [*model.trainable_variables, *model.optimizer.variables],
        [*fresh.trainable_variables, *fresh.optimizer.variables],
        strict=True,
    ):
        old.assign(new)
    for name in WATCHED:
        model.get_layer(name).reset()


def train(model, way, seed, data, epochs, tell) -> Run:
    """One training; returns what the report needs."""
    x_train, x_test, y_train, y_test = data
    start_anew(model, seed)
    monitor = km.callbacks.MonosemanticityMonitor(x_test, batch_size=len(x_test))
    keras.utils.set_random_seed(seed)
    model.fit(
        x_train,
        y_train,
        batch_size=32,
        epochs=epochs,
        callbacks=[monitor, tell],
        verbose=0,
    )
    predicted = np.argmax(model.predict(x_test, verbose=0), axis=1)
    accuracy = float((predicted == y_test).mean())
    z = km.analysis.activations(model, x_test, WATCHED)
    selectivity = {
        name: km.analysis.measures(values, y_test).class_selectivity
        for name, values in z.items()
    }
    return Run(way, seed, accuracy, monitor.rows, z, selectivity)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=5, help="trainings of each")
    options.add_argument("--epochs", type=int, default=15, help="epochs a training")
    options.add_argument("--output", type=Path, default=Path("output"), help="folder")
    options = options.parse_args()

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    data = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)

    console, began, runs = Console(), time.perf_counter(), []
    console.width = max(console.width, 96)  # of the table
    console.print(
        f"[bold]keras_mono[/] {km.__version__} on [bold]{keras.backend.backend()}[/]: "
        f"{len(data[0])} digits to train on, {len(data[1])} to test on"
    )
    with Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"),
        console=console,
    ) as progress:
        total = options.seeds * len(WAYS) * options.epochs
        task = progress.add_task("starting", total=total, shown="")

        def show(epoch, logs):  # noqa: ARG001
            shown = f"training accuracy {100 * logs['accuracy']:.1f} %"
            progress.update(task, advance=1, shown=shown)

        models = {way: build(way) for way in WAYS}
        for seed in range(options.seeds):
            for way, model in models.items():
                progress.update(task, description=f"seed {seed}, {way}")
                tell = keras.callbacks.LambdaCallback(on_epoch_end=show)
                runs.append(train(model, way, seed, data, options.epochs, tell))
                if not console.is_terminal:
                    console.print(
                        f"seed {seed}, {way}: test accuracy "
                        f"{100 * runs[-1].accuracy:.1f} %"
                    )

    print_report(runs, console)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"quickstart-{keras.backend.backend()}.png"
    draw(runs, y_test=data[3]).savefig(path, dpi=150)
    console.print(f"\nPicture: {path}   ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
