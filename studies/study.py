"""The library's evidence: studies in image, language and physics, resumable.

    KERAS_BACKEND=jax python studies/study.py image                  # all its rows
    KERAS_BACKEND=jax python studies/study.py image --subset "vit-digits/plain > memel"
    KERAS_BACKEND=jax python studies/study.py image --claim 3
    KERAS_BACKEND=jax python studies/study.py image --quick          # a minute

Trains every method of every setting from the same seeds, and adds a line to
FOLDER/SETTING.jsonl for each run; a run that is there is not run again. With `--subset`
or `--claim` only what one row of docs/results.md needs; then it says whether the
outcome agrees with the stored one. `--search` chooses what is tuned, on validation data
of seeds of its own, instead of using what was chosen before.
"""

import argparse
import sys
from pathlib import Path

from rich.progress import Progress

from evidence import agreement, rows
from evidence.all_results import STUDIES, read, settings_of, study_of
from evidence.claims import CLAIMS
from evidence.setting import Setting
from evidence.store import STORED, Store, about
from evidence.training import Trainer
from evidence.tuning import Choices

QUICK_SEEDS = [0]


def main() -> int:
    given = arguments()
    settings = {s.name: s for s in settings_of(given.study, given.scale)}
    if given.claim:
        return run_claim(settings, given)
    wanted = given.subset.partition("/")[0] if given.subset else given.setting
    if wanted not in (None, *settings):
        sys.exit(
            f"No setting {wanted!r} in the study {given.study}. It has: "
            f"{', '.join(settings)}."
        )
    if given.subset:
        return run_row(settings[wanted], given)
    for setting in settings.values():
        if wanted in (None, setting.name):
            run_paths(setting, setting.paths(), given)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--setting", help="only this one")
    only.add_argument("--subset", metavar="ROW", help="only this row of the results")
    only.add_argument("--claim", type=int, metavar="N", help="only this claim's runs")
    parser.add_argument("--seeds", default="0-11", help="such as 0-11 or 100-111")
    scale = parser.add_mutually_exclusive_group()
    for name, text in {
        "quick": "one seed (0) and tiny models, to see that it runs",
        "large": "for an accelerator",
    }.items():
        scale.add_argument(
            f"--{name}", dest="scale", action="store_const", const=name, help=text
        )
    parser.set_defaults(scale="default")
    parser.add_argument("--search", action="store_true", help="tune anew")
    parser.add_argument("--out", type=Path, default=Path("output/evidence"))
    given = parser.parse_args()
    try:
        first, _, last = given.seeds.partition("-")
        seeds = list(range(int(first), int(last or first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        parser.error(f"--seeds must be such as 0-11. Received: {given.seeds!r}.")
    given.seeds = QUICK_SEEDS if given.scale == "quick" else seeds
    return given


def run_claim(settings: dict[str, Setting], given: argparse.Namespace) -> int:
    """What one of the claims needs, and whether it comes out as stored."""
    if not 1 <= given.claim <= len(CLAIMS):
        sys.exit(f"--claim must be 1 to {len(CLAIMS)}. Received: {given.claim}.")
    claim = CLAIMS[given.claim - 1]
    if claim.needs[0][0] not in settings:
        study = study_of(claim.needs[0][0])
        sys.exit(f"Claim {given.claim} is part of the study {study}.")
    choices = {}
    for name in dict.fromkeys(name for name, _ in claim.needs):
        paths = [path for setting, path in claim.needs if setting == name]
        choices[name] = run_paths(settings[name], paths, given)
    if given.scale != "default":
        return 0
    now = claim.values(read(given.out, choices).of(given.seeds))
    stored = all(Store(STORED, name).runs() for name in choices)
    before = claim.values(read(STORED)) if stored else dict.fromkeys(now, ())
    return 0 if agreement.shown(claim.title, claim.unit, now, before) else 1


def run_row(setting: Setting, given: argparse.Namespace) -> int:
    """One row and what it is compared with, and whether it comes out as stored."""
    choices = run_paths(setting, rows.paths_of(given.subset, setting), given)
    if given.scale != "default":
        return 0
    row = rows.Row(setting, choices, rows.path_of(given.subset))
    found = [
        {setting.primary: row.differences(Store(folder, setting.name).runs(), seeds)}
        for folder, seeds in ((given.out, given.seeds), (STORED, None))
    ]
    title = f"{given.subset}, better than plain by"
    return 0 if agreement.shown(title, "", *found) else 1


def run_paths(
    setting: Setting, paths: list[tuple[str, ...]], given: argparse.Namespace
) -> Choices:
    """Run what is missing of some paths; what was chosen by validation."""
    store = Store(given.out, setting.name, given.scale)
    stored = Store(STORED, setting.name, given.scale)
    store.check(about())
    trainer = Trainer(setting)
    choices = Choices(setting, store, quick=given.scale == "quick")
    if given.search or not stored.runs():
        choices.search(lambda tasks: train(trainer, store, tasks))
    else:
        choices = Choices(setting, stored)
    tasks = [(choices.resolved(path), seed) for seed in given.seeds for path in paths]
    train(trainer, store, tasks)
    if other_data(store, stored):
        print(
            f"{setting.name}: the data are not those of the stored runs, because other "
            "versions of the packages that they come from are installed (docs/"
            "results.md names them). Expect the prediction interval, not the numbers."
        )
    return choices


def other_data(store: Store, stored: Store) -> bool:
    """Whether runs that both have were made with different data."""
    before = {(tuple(r["path"]), r["seed"]): r["data"] for r in stored.runs()}
    both = [(r, before.get((tuple(r["path"]), r["seed"]))) for r in store.runs()]
    return any(data not in (None, run["data"]) for run, data in both)


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
