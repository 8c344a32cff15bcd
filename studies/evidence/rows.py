"""Rows of the results: one path of methods against plain training."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from evidence.setting import Setting
from evidence.tuning import SEEDS, Choices

Runs = Iterable[dict[str, Any]]


def text(path: tuple[str, ...]) -> str:
    """A path as rows and commands name it."""
    return " > ".join(path)


def path_of(subset: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in subset.partition("/")[2].split(">"))


def paths_of(subset: str, setting: Setting) -> list[tuple[str, ...]]:
    """What a row needs: its own path and the plain one."""
    path = path_of(subset)
    every = setting.paths()
    if path not in every:
        names = "; ".join(f"{setting.name}/{text(p)}" for p in every)
        raise SystemExit(f"No row {subset!r}. There are: {names}.")
    return [setting.plain, path]


def figures(runs: Runs, path: tuple[str, ...], name: str) -> dict[int, float]:
    """One figure by seed; of the seeds of the search nothing."""
    return {
        run["seed"]: run["figures"][name]
        for run in runs
        if tuple(run["path"]) == path
        and name in run["figures"]
        and run["seed"] not in SEEDS
    }


class Row:
    """One method in one setting, compared with plain training of the same seeds."""

    def __init__(
        self, setting: Setting, choices: Choices, path: tuple[str, ...]
    ) -> None:
        self.setting, self.path = setting, path
        self.resolved = choices.resolved(path)
        self.plain = choices.resolved(setting.plain)

    def differences(
        self, runs: Runs, seeds: Iterable[int] | None = None, name: str | None = None
    ) -> np.ndarray:
        """To plain training, "better" being positive, in the order of the seeds."""
        runs, name = list(runs), name or self.setting.primary
        ours = figures(runs, self.resolved, name)
        plain = figures(runs, self.plain, name)
        both = sorted(set(ours) & set(plain))
        chosen = [s for s in both if seeds is None or s in set(seeds)]
        sign = 1 if self.setting.higher_is_better else -1
        return np.array([sign * (ours[s] - plain[s]) for s in chosen])
