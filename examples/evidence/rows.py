"""Rows of the results: one path of methods against plain training."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Console

from evidence import paired
from evidence.methods import TITLES
from evidence.setting import Setting
from evidence.tuning import Choices

Runs = Iterable[dict[str, Any]]
# Of a row's difference, with the same seeds, data and versions: see docs/results.md.
SAME_SEEDS_TOLERANCE = 1e-3


def text(path: tuple[str, ...]) -> str:
    """A path as rows and commands name it."""
    return " > ".join(path)


def title(path: tuple[str, ...]) -> str:
    """The same in words."""
    names = [TITLES[method.partition(":")[0]] for method in path]
    if len(names) == 1:
        return names[0]
    return f"{names[1]}" if names[0] == "plain" else f"{names[0]}, then {names[1]}"


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
    """One figure by seed."""
    return {
        run["seed"]: run["figures"][name]
        for run in runs
        if tuple(run["path"]) == path and name in run["figures"]
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

    def report(self, runs: Runs, stored: Runs, seeds: list[int]) -> bool:
        """Print the row and whether it agrees with the stored one."""
        runs, stored = list(runs), list(stored)
        console = Console(highlight=False)
        found = self.differences(runs, seeds)
        console.print(f"{self.setting.name}/{text(self.path)}, {self.setting.primary}")
        console.print(f"  better than plain by, seed by seed: {np.round(found, 4)}")
        if len(found) < 2:
            console.print("  One seed cannot be compared.")
            return True
        now = paired.compare(found)
        console.print(
            f"  mean {now.mean:+.4g}, 95 % interval {now.low:+.4g} to {now.high:+.4g}, "
            f"paired t-test p = {now.p:.2g}, Wilcoxon p = {now.wilcoxon:.2g}, "
            f"d_z = {now.effect:+.2f}, {now.number} pairs"
        )
        before = self.differences(stored)
        if len(before) < 2:
            console.print("  Nothing is stored to compare this with.")
            return True
        return self._agrees(console, now, before, stored, runs, set(seeds))

    def _agrees(self, console, now, before, stored, runs, seeds) -> bool:
        old = paired.compare(before)
        console.print(f"  stored: mean {old.mean:+.4g} of {old.number} pairs")
        data = [{r["seed"]: r["data"] for r in each} for each in (stored, runs)]
        differ = [s for s in data[0] if s in data[1] and data[0][s] != data[1][s]]
        if differ:
            console.print(
                "  The data are not those of the stored runs: other versions of the "
                "packages that they come from are installed (docs/results.md lists "
                "them). Only the prediction interval applies."
            )
        same = seeds == set(figures(stored, self.resolved, self.setting.primary))
        close = abs(now.mean - old.mean) <= SAME_SEEDS_TOLERANCE * max(1, abs(old.mean))
        if same and close and not differ:
            console.print("  AGREES: the same seeds give the stored mean.")
            return True
        inside = old.next_low <= now.mean <= old.next_high
        console.print(
            f"  {'AGREES' if inside else 'DIFFERS'}: the mean lies "
            f"{'inside' if inside else 'outside'} the 95 % prediction interval "
            f"{old.next_low:+.4g} to {old.next_high:+.4g}."
        )
        return inside
