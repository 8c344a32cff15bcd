"""The library's evidence: studies in image, language and physics, resumable.

    KERAS_BACKEND=jax python examples/study.py image                  # all its rows
    KERAS_BACKEND=jax python examples/study.py image --subset "vit-digits/plain > memel"
    KERAS_BACKEND=jax python examples/study.py image --quick          # a minute

Trains every method of every setting from the same seeds, and adds a line to
FOLDER/SETTING.jsonl for each run; a run that is there is not run again. With `--subset`
only one row of docs/results.md, and the plain training it is compared with; then it
says whether the outcome agrees with the stored one. `--search` chooses what is tuned,
on validation data of seeds of its own, instead of using what was chosen before.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from rich.progress import Progress

from evidence import rows
from evidence.store import STORED, Store, about
from evidence.training import Trainer
from evidence.tuning import Choices

STUDIES = ("image", "language", "physics")
QUICK_SEEDS = [0, 1]


def main() -> int:
    given = arguments()
    settings = import_module(f"{given.study}.settings").settings(given.scale)
    wanted = given.subset.partition("/")[0] if given.subset else given.setting
    chosen = [s for s in settings if wanted in (None, s.name)]
    if not chosen:
        names = [s.name for s in settings]
        sys.exit(f"No setting {wanted!r} in the study {given.study}. It has: {names}.")
    outcomes = [run_setting(setting, given) for setting in chosen]
    return 0 if all(outcomes) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--setting", help="only this one")
    parser.add_argument("--subset", metavar="ROW", help="only this row of the results")
    parser.add_argument("--seeds", default="0-11", help="such as 0-11 or 100-111")
    scale = parser.add_mutually_exclusive_group()
    for name, text in {
        "quick": "two seeds and tiny models, to see that it runs",
        "large": "for an accelerator",
    }.items():
        scale.add_argument(
            f"--{name}", dest="scale", action="store_const", const=name, help=text
        )
    parser.set_defaults(scale="default")
    parser.add_argument("--search", action="store_true", help="tune anew")
    parser.add_argument("--only-search", action="store_true", help="tune, then stop")
    parser.add_argument("--out", type=Path, default=Path("output/evidence"))
    given = parser.parse_args()
    try:
        first, _, last = given.seeds.partition("-")
        given.seeds = list(range(int(first), int(last or first) + 1))
    except ValueError:
        parser.error(f"--seeds must be such as 0-11. Received: {given.seeds!r}.")
    if given.scale == "quick":
        given.seeds = QUICK_SEEDS
    return given


def run_setting(setting, given) -> bool:
    """Whether the row agrees with the stored one, if one was asked for."""
    store = Store(given.out, setting.name, given.scale)
    trainer = Trainer(setting)
    choices = Choices(setting, store)
    stored = Store(STORED, setting.name, given.scale)
    if given.search or given.only_search or given.scale != "default":
        choices.search(lambda tasks: train(trainer, store, tasks))
    else:
        choices = Choices(setting, stored if stored.runs() else store)
    if given.only_search:
        return True
    paths = setting.paths()
    if given.subset:
        paths = rows.paths_of(given.subset, setting)
    tasks = [(choices.resolved(path), seed) for seed in given.seeds for path in paths]
    train(trainer, store, tasks)
    if not given.subset:
        return True
    row = rows.Row(setting, choices, rows.path_of(given.subset))
    return row.report(store.runs(), stored.runs(), given.seeds)


def train(trainer: Trainer, store: Store, tasks) -> None:
    """Run what is not in the store yet."""
    done = store.done()
    missing = [task for task in dict.fromkeys(tasks) if task not in done]
    if not missing:
        return
    name = trainer.setting.name
    with Progress(transient=True) as progress:
        shown = progress.add_task(name, total=len(missing))
        for path, seed in missing:
            progress.update(shown, description=f"{name}: {rows.text(path)}, {seed}")
            run = trainer.run(path, seed)
            store.add({"setting": name, "path": path, "seed": seed, **run, **about()})
            progress.advance(shown)


if __name__ == "__main__":
    sys.exit(main())
