"""The library's evidence: runs for docs/results.md, resumable.

    KERAS_BACKEND=jax python studies/study.py --claim 3
    KERAS_BACKEND=jax python studies/study.py --row "mnist-vit/memel"
    KERAS_BACKEND=jax python studies/study.py mnist           # all rows of a study
    KERAS_BACKEND=jax python studies/study.py mnist --quick   # a minute, no download

Trains every method of every setting from the same seeds, and adds a line to
FOLDER/SETTING.jsonl for each run; a run that is there is not run again. With `--claim`
or `--row` only what one row of docs/results.md needs; then it says whether the outcome
agrees with the stored one. `--search` runs only what chooses learning rates and MEmeL's
k and Δ, on validation data of seeds of its own; what was chosen before is used else.
studies/README.md says where the data come from.
"""

import argparse
import sys
from pathlib import Path

from rich.progress import Progress

from evidence import agreement, packages, rows
from evidence.all_results import (
    MANIPULATION,
    STUDIES,
    read,
    settings_of,
    study_of,
    trainer_of,
)
from evidence.claims import CLAIMS, FIRST, PLANTED, Claim
from evidence.seeds import seeds_of
from evidence.setting import Setting
from evidence.store import STORED, Store, about
from evidence.training import Trainer
from evidence.tuning import SEEDS as SEARCHED
from evidence.tuning import Choices

QUICK_SEEDS = [0]
NUMBERED = (*CLAIMS, *PLANTED)


def main() -> int:
    given = arguments()
    packages.FOLDER = given.data
    if given.claim:
        return run_claim(NUMBERED[given.claim - 1], given)
    if given.row:
        return run_row(given)
    for study in [given.study] if given.study else STUDIES:
        found = settings_of(study, given.scale)
        names = [setting.name for setting in found]
        if given.setting not in (None, *names):
            sys.exit(
                f"No setting {given.setting!r} in the study {study}. It has: "
                f"{', '.join(names)}."
            )
        wanted = [s for s in found if given.setting in (None, s.name)]
        run_settings(wanted, given)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", nargs="?", choices=STUDIES, help="default: all")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--setting", help="only this one of the study")
    only.add_argument("--row", help="only this row of the results, SETTING/METHOD")
    only.add_argument("--claim", type=int, metavar="N", help="only this claim's runs")
    parser.add_argument(
        "--seeds", help="such as 0-11 or 200-211; default: 0-11, or all of the claim"
    )
    scale = parser.add_mutually_exclusive_group()
    for name, text in {
        "quick": "one seed (0) and tiny models, to see that it runs",
        "large": "two large causal models, for an accelerator, of the study udhr",
    }.items():
        scale.add_argument(
            f"--{name}", dest="scale", action="store_const", const=name, help=text
        )
    parser.set_defaults(scale="default")
    parser.add_argument("--search", action="store_true", help="only tune, anew")
    parser.add_argument("--data", type=Path, default=packages.FOLDER, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("output/evidence"))
    given = parser.parse_args()
    if given.claim is not None and not 1 <= given.claim <= len(NUMBERED):
        sys.exit(f"--claim must be 1 to {len(NUMBERED)}. Received: {given.claim}.")
    if given.setting and not given.study:
        parser.error("--setting needs the study that it is part of.")
    if given.scale == "large" and given.study != "udhr":
        parser.error("--large is for the study udhr.")
    most = NUMBERED[given.claim - 1].seeds if given.claim else FIRST
    given.seeds = seeds_of(given.seeds or f"0-{most - 1}", parser)
    if given.scale == "quick":
        given.seeds = QUICK_SEEDS
    return given


def run_claim(claim: Claim, given: argparse.Namespace) -> int:
    """What one of the claims needs, and whether it comes out as stored."""
    choices = {}
    for name in dict.fromkeys(name for name, _ in claim.needs):
        paths = [path for setting, path in claim.needs if setting == name]
        if name.startswith(MANIPULATION):
            run_manipulation(name, paths, given)
        else:
            setting = setting_called(name, given.scale)
            choices[name] = Runner(setting, given).run(paths)
    if given.scale != "default":
        return 0
    now, before = read(given.out, choices), read(STORED).of(range(claim.seeds))
    agreed = [
        agreement.shown(
            claim.title,
            part.unit,
            {part.text: part.values(now.of(given.seeds))},
            {part.text: part.values(before)},
            {part.text: part.values(before.of(given.seeds))},
        )
        for part in claim.parts
    ]
    return 0 if all(agreed) else 1


def run_manipulation(
    name: str, paths: list[tuple[str, ...]], given: argparse.Namespace
) -> None:
    """By the program of that study; its folder is beside this one's."""
    import manipulation_study
    from manipulation.networks import networks

    quick = given.scale == "quick"
    network = networks(quick)[name.removeprefix(MANIPULATION)]
    options = argparse.Namespace(
        seeds=given.seeds, quick=quick, out=given.out.parent / "manipulation"
    )
    manipulation_study.run([network], [path[-1] for path in paths], options)


def setting_called(name: str, scale: str) -> Setting:
    for study in STUDIES:
        for setting in settings_of(study, scale):
            if setting.name == name:
                return setting
    sys.exit(f"No setting {name!r} at this scale.")


def run_row(given: argparse.Namespace) -> int:
    """One row and what it is compared with, and whether it comes out as stored."""
    setting = setting_called(given.row.partition("/")[0], given.scale)
    choices = Runner(setting, given).run(rows.paths_of(given.row, setting))
    if given.scale != "default":
        return 0
    row = rows.Row(setting, choices, rows.path_of(given.row))
    found = [
        {setting.primary: row.differences(Store(folder, setting.name).runs(), seeds)}
        for folder, seeds in (
            (given.out, given.seeds),
            (STORED, None),
            (STORED, given.seeds),
        )
    ]
    title = f"{given.row}, better than plain by"
    return 0 if agreement.shown(title, "", *found) else 1


def run_settings(settings: list[Setting], given: argparse.Namespace) -> None:
    """Seed by seed: all settings have equally many seeds at any time."""
    runners = [Runner(setting, given) for setting in settings]
    if given.search:
        for runner in runners:
            runner.search()
        return
    for seed in given.seeds:
        for runner in runners:
            runner.run(runner.setting.paths(), [seed])


class Runner:
    """Runs what is missing of one setting."""

    def __init__(self, setting: Setting, given: argparse.Namespace) -> None:
        self.setting, self._given = setting, given
        self._store = Store(given.out, setting.name, given.scale)
        self._stored = Store(STORED, setting.name, given.scale)
        self._store.check(about())
        self._trainer: Trainer | None = None
        self._choices: Choices | None = None

    def run(
        self, paths: list[tuple[str, ...]], seeds: list[int] | None = None
    ) -> Choices:
        """Of some paths, for some seeds; what was chosen by validation."""
        choices = self._choices = self._choices or self._chosen()
        tasks = [
            (choices.resolved(path), seed)
            for seed in seeds or self._given.seeds
            for path in paths
        ]
        self._train(tasks)
        if other_data(self._store, self._stored):
            print(
                f"{self.setting.name}: the data are not those of the stored runs, "
                "because they come from other packages, or other versions of them "
                "(docs/results.md names these). Expect the prediction interval, not "
                "the numbers."
            )
        return choices

    def _chosen(self) -> Choices:
        """As it was chosen before, or anew where it was not."""
        return (
            Choices(self.setting, self._stored)
            if self._stored.runs()
            else self.search()
        )

    def search(self) -> Choices:
        """Run what choices are made from."""
        quick = self._given.scale == "quick"
        choices = Choices(self.setting, self._store, quick=quick)
        choices.search(self._train)
        if self._given.search:
            own = SEARCHED[:1] if quick else SEARCHED
            before = self.setting.plain[:-1]
            self._train(
                [((*before, m), seed) for m in self.setting.searched for seed in own]
            )
        return choices

    def _train(self, tasks) -> None:
        """Run what is not in the store yet."""
        done = self._store.done()
        missing = [task for task in dict.fromkeys(tasks) if task not in done]
        if not missing:
            return
        name = self.setting.name
        if self._trainer is None:
            study = study_of(name, self._given.scale)
            self._trainer = trainer_of(study, self.setting)
        with Progress(transient=True) as progress:
            shown = progress.add_task(name, total=len(missing))
            for path, seed in missing:
                progress.update(shown, description=f"{name}: {rows.text(path)}, {seed}")
                run = self._trainer.run(path, seed)
                line = {"setting": name, "path": path, "seed": seed, **run, **about()}
                self._store.add(line)
                progress.advance(shown)


def other_data(store: Store, stored: Store) -> bool:
    """Whether runs that both have were made with different data."""
    before = {(tuple(r["path"]), r["seed"]): r["data"] for r in stored.runs()}
    both = [(r, before.get((tuple(r["path"]), r["seed"]))) for r in store.runs()]
    return any(data not in (None, run["data"]) for run, data in both)


if __name__ == "__main__":
    sys.exit(main())
