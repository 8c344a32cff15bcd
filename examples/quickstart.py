"""Train a small network on handwritten digits, plain and with inhibition, and compare.

    python examples/quickstart.py [--seeds 5] [--epochs 15] [--output output]

The two networks of a seed start from the same weights and see the same batches. The
plain one holds `MonosemanticScale` where the other holds `MonosemanticInhibition`, so
that both are measured in the same way.
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

CONDITIONS = ("plain", "inhibition")
WATCHED = ("first", "second")


def build(condition: str) -> keras.Model:
    """Two hidden layers, each followed by a layer that measures or inhibits."""
    mono = {
        "plain": km.layers.MonosemanticScale,
        "inhibition": km.layers.MonosemanticInhibition,
    }[condition]
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            mono(name="first"),
            keras.layers.Dense(64, activation="relu"),
            mono(name="second"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    return model


def train(model, condition, seed, data, epochs, tell) -> Run:
    """One training from new weights; returns what the report needs.

    Plain SGD keeps no state, so one compiled model can serve all seeds.
    """
    x_train, x_test, y_train, y_test = data
    keras.utils.set_random_seed(seed)
    model.set_weights(build(condition).get_weights())
    monitor = km.callbacks.MonosemanticityMonitor(x_test, batch_size=len(x_test))
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
    activations = km.analysis.activations(model, x_test, WATCHED)
    phi = {
        name: keras.ops.convert_to_numpy(model.get_layer(name).score(z))
        for name, z in activations.items()
    }
    return Run(condition, seed, accuracy, monitor.rows, activations, phi)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=5, help="paired trainings")
    options.add_argument("--epochs", type=int, default=15, help="epochs a training")
    options.add_argument("--output", type=Path, default=Path("output"), help="folder")
    options = options.parse_args()

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    data = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)

    console, began, runs = Console(), time.perf_counter(), []
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
        total = options.seeds * len(CONDITIONS) * options.epochs
        task = progress.add_task("starting", total=total, shown="")

        def show(epoch, logs):  # noqa: ARG001
            shown = f"training accuracy {100 * logs['accuracy']:.1f} %"
            progress.update(task, advance=1, shown=shown)

        models = {condition: build(condition) for condition in CONDITIONS}
        for seed in range(options.seeds):
            for condition, model in models.items():
                progress.update(task, description=f"seed {seed}, {condition}")
                tell = keras.callbacks.LambdaCallback(on_epoch_end=show)
                runs.append(train(model, condition, seed, data, options.epochs, tell))
                if not console.is_terminal:
                    console.print(
                        f"seed {seed}, {condition}: test accuracy "
                        f"{100 * runs[-1].accuracy:.1f} %"
                    )

    print_report(runs, console)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"quickstart-{keras.backend.backend()}.png"
    draw(runs, x_test=data[1], y_test=data[3]).savefig(path, dpi=150)
    console.print(f"\nPicture: {path}   ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
