"""Which trainings that end at chance does the monitor tell of? For docs/monitor.md.

    KERAS_BACKEND=jax python studies/collapse_study.py
    KERAS_BACKEND=jax python studies/collapse_study.py --network cnn-digits --seeds 0
    KERAS_BACKEND=jax python studies/collapse_study.py --page [--check]

Trains the networks of the manipulation study again, with a monitor on the layers that
its methods act on, and adds a line to FOLDER/NETWORK.jsonl for each run: what the
monitor measured after each epoch, and after which one it warned. A run that is there is
not run again. `--page` writes the table in docs/monitor.md from docs/data/collapse.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import keras

import keras_mono as km
from collapse import table
from evidence import written
from evidence.methods import Method
from evidence.seeds import seeds_of
from evidence.setting import Setting, Split, Task
from evidence.store import Store, about
from evidence.training import Variant, assign, values
from manipulation.measures import Measuring
from manipulation.methods import Manipulation
from manipulation.networks import Network, networks

MEASURED_ON = 256  # of the validation data


def main() -> int:
    given = arguments()
    found = networks(given.quick)
    if given.page:
        text = table.PAGE.read_text("utf-8")
        text = written.between(text, table.text(found), table.BEGIN, table.END)
        if given.check:
            return written.differ({table.PAGE: text})
        written.write({table.PAGE: text})
        return 0
    for name in given.network or list(found):
        run(found[name], given)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", help="only these")
    parser.add_argument("--seeds", help="such as 0-11; default: those of the page")
    parser.add_argument("--quick", action="store_true", help="one seed, tiny models")
    parser.add_argument("--out", type=Path, default=Path("output/collapse"))
    parser.add_argument("--page", action="store_true", help="write the table")
    parser.add_argument("--check", action="store_true", help="with --page: compare")
    given = parser.parse_args()
    given.seeds = given.seeds and seeds_of(given.seeds, parser)
    if given.quick:
        given.seeds = [0]
    return given


def run(network: Network, given: argparse.Namespace) -> None:
    store = Store(given.out, network.name, "quick" if given.quick else "default")
    methods, seeds = table.runs_of(network.name)
    trainer = None
    for seed in given.seeds or seeds:
        done = store.done()
        for method in methods:
            path = network.path(method)
            if (path, seed) in done:
                continue
            trainer = trainer or Watching(network)
            made = trainer.run(path, seed)
            line = {"setting": network.name, "path": path, "seed": seed}
            store.add({**line, **made, **trainer.watched, **about()})
            told = trainer.watched["told"]
            print(network.name, method, seed, made["figures"], "told:", told)


class WatchedMethod(Manipulation):
    """With a layer to watch in plain training too, and a monitor in the last task."""

    trainer: "Watching"

    def layer(self, setting: Setting) -> keras.layers.Layer | None:
        if self.name == "plain":
            return km.layers.MonosemanticScale(axis=-1)
        return super().layer(setting)

    def model(self, setting: Setting, task: int) -> keras.Model:
        if task < len(setting.tasks) - 1:
            return setting.tasks[task].build(None)
        return super().model(setting, task)

    def callbacks(self, task: Task) -> list[keras.callbacks.Callback]:
        before = super().callbacks(task)
        if task is not self.trainer.setting.tasks[-1]:
            return before
        steps = -(-self.trainer.examples // task.batch_size)
        watch = Watch(self.trainer, task, steps)
        return [*before, watch.monitor, watch]


class Watch(keras.callbacks.Callback):
    """Notes what its monitor measures, and when it warns.

    Ten times or so: after each epoch, or in between where there are few.
    """

    def __init__(self, trainer: "Watching", task: Task, steps: int) -> None:
        super().__init__()
        self.trainer = trainer
        self.steps, self.total = steps, steps * task.epochs
        when: dict[str, Any] = {}
        if task.epochs < 5:
            when = {"unit": "batch", "every": max(self.total // 10, 1)}
        self.monitor = km.callbacks.MonosemanticityMonitor(trainer.probe, **when)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.done = epoch * self.steps

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        self.look(self.done + batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.look((epoch + 1) * self.steps, logs)

    def look(self, steps: int, logs: dict[str, float] | None) -> None:
        told = [w for w in self.trainer.warnings if "has collapsed" in str(w.message)]
        watched, rows = self.trainer.watched, self.monitor.rows
        if told and watched["told"] is None:
            watched["told"] = rounded(steps / self.total)
        names = list(dict.fromkeys(row["layer"] for row in rows))
        for name in ("scale", "dead"):
            watched[name] = [
                [rounded(row[name]) for row in rows if row["layer"] == layer]
                for layer in names
            ]
        if names and len(watched["scale"][0]) > len(watched["train loss"]):
            watched["train loss"].append(rounded((logs or {})["loss"]))


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


class Watching(Measuring):
    """Trains as the manipulation study does, and measures only how it ends."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.method = type("Method", (WatchedMethod,), {"trainer": self})
        self.warnings: list[warnings.WarningMessage] = []
        self.watched: dict[str, Any] = {}

    def run(self, path: tuple[str, ...], seed: int) -> dict[str, Any]:
        self.watched = {"told": None, "train loss": [], "scale": [], "dead": []}
        split = self.split(len(path) - 1, seed)
        self.probe = split.validation.x[:MEASURED_ON]
        self.examples = len(split.train.x)
        with warnings.catch_warnings(record=True) as self.warnings:
            warnings.simplefilter("always")
            return super().run(path, seed)

    def figures(
        self,
        variant: Variant,
        method: Method,  # noqa: ARG002
        split: Split,
    ) -> dict[str, float]:
        assign(self.reader.model, values(variant.model))
        predicted, _ = self.reader.read(split.test.x)
        found = self.setting.tasks[-1].measure(predicted, split.test.y)
        found["constant"] = self.network.constant(split.test.y)
        return {f"test {name}": value for name, value in found.items()}


if __name__ == "__main__":
    sys.exit(main())
