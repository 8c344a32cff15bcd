"""Figures of stored runs, by setting, path and seed."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evidence.rows import figures
from evidence.setting import Setting
from evidence.tuning import Choices

BySeed = dict[int, float]


class Results:
    """All stored runs, by setting; of some seeds only, if given."""

    def __init__(
        self,
        found: Mapping[str, tuple[Setting, Choices, list[Any]]],
        seeds: Iterable[int] | None = None,
    ) -> None:
        self.found = found
        self.seeds = None if seeds is None else set(seeds)

    def of(self, seeds: Iterable[int]) -> "Results":
        """Those of some seeds among these."""
        chosen = set(seeds) if self.seeds is None else self.seeds & set(seeds)
        return Results(self.found, chosen)

    def figure(self, setting: str, path: tuple[str, ...], name: str) -> BySeed:
        """One figure by seed; what no run has is missing."""
        if setting not in self.found:
            return {}
        _, choices, runs = self.found[setting]
        if not runs:
            return {}
        every = figures(runs, choices.resolved(path), name)
        return {
            seed: value
            for seed, value in every.items()
            if self.seeds is None or seed in self.seeds
        }

    def gain(
        self, setting: str, path: tuple[str, ...], than: tuple[str, ...], name: str
    ) -> BySeed:
        """One path's figure less another's."""
        a, b = (self.figure(setting, each, name) for each in (path, than))
        return {seed: a[seed] - b[seed] for seed in sorted({*a} & {*b})}

    def lowered(self, setting: str, method: str, name: str) -> BySeed:
        """By how many percent of plain's mean the last task's method lowers it."""
        if setting not in self.found:
            return {}
        plain = self.found[setting][0].plain
        before = self.figure(setting, plain, name)
        if not before:
            return {}
        scale = 100 / abs(np.mean(list(before.values())))
        changed = self.gain(setting, (*plain[:-1], method), plain, name)
        return {seed: -scale * change for seed, change in changed.items()}


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> np.ndarray:
    """a - b of the seeds that both have."""
    return np.array([a[seed] - b[seed] for seed in sorted(set(a) & set(b))])


def mean_of(
    each: Iterable[Mapping[int, float]], some_lack_it: bool = False
) -> np.ndarray:
    """The mean over settings, seed by seed, of the seeds that every setting has.

    `some_lack_it`: a seed counts too at which a network lacks the figure, as the tail
    of a layer that died; its mean is that of the others.
    """
    every = list(each)
    if not every:
        return np.zeros(0)
    join = set.union if some_lack_it else set.intersection
    seeds = sorted(join(*map(set, every)))
    return np.array([np.mean([of[s] for of in every if s in of]) for s in seeds])
