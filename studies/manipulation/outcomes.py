"""Paired changes against plain training, from stored runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evidence.store import Store
from manipulation.methods import place
from manipulation.networks import Network

STORED = Path(__file__).resolve().parents[2] / "docs" / "data" / "manipulation"
VALIDATION_SEEDS = range(1000, 1004)
FIGURES = ("task", "loss", "tail", "selectivity", "scale", "dead", "tail below")
AT_CHANCE = 0.1  # of the way from the best constant prediction to plain training


class Outcomes:
    """Runs of some networks: by test data, or by validation data of its own seeds."""

    def __init__(
        self,
        networks: Mapping[str, Network],
        runs: Mapping[str, list[dict[str, Any]]],
        part: str = "test",
    ) -> None:
        self.networks = {k: v for k, v in networks.items() if runs.get(k)}
        self.part = part
        self.runs = {
            name: [
                run
                for run in runs[name]
                if (run["seed"] in VALIDATION_SEEDS) == (part == "validation")
            ]
            for name in self.networks
        }

    def methods(self) -> list[str]:
        """By kind and strength, plain first."""
        every = (run for runs in self.runs.values() for run in runs)
        return sorted({run["path"][-1] for run in every}, key=place)

    def values(self, network: str, method: str, figure: str) -> dict[int, float]:
        """By seed. The tail of a dead layer, for one, is missing."""
        if figure == "task":
            figure = self.networks[network].setting.primary.removeprefix("test ")
        name = f"{self.part} {figure}"
        return {
            run["seed"]: run["figures"][name]
            for run in self.runs[network]
            if run["path"][-1] == method and name in run["figures"]
        }

    def plain(self, network: str, figure: str) -> float:
        return float(np.mean(list(self.values(network, "plain", figure).values())))

    def changes(
        self, network: str, method: str, figure: str, than: str = "plain"
    ) -> np.ndarray:
        """Seed by seed; of the task, better is positive."""
        ours = self.values(network, method, figure)
        other = self.values(network, than, figure)
        sign = 1.0
        if figure == "task" and not self.networks[network].setting.higher_is_better:
            sign = -1.0
        return np.array(
            [sign * (ours[s] - other[s]) for s in sorted({*ours} & {*other})]
        )

    def in_unit(
        self, network: str, method: str, figure: str, of: str = "share"
    ) -> np.ndarray:
        """Changes as a share of plain's mean, in points, or in margins of the task."""
        found = self.changes(network, method, figure)
        if of == "share":
            return found / abs(self.plain(network, figure))
        if of == "margin":
            return found / self.margin(network)
        return found

    def margin(self, network: str) -> float:
        """In the unit of the task's figure."""
        given = self.networks[network]
        return given.margin * (self.plain(network, "task") if given.relative else 1.0)

    def at_chance(self, network: str, method: str) -> tuple[int, int]:
        """Trainings that ended no better than a constant prediction; of how many."""
        constant, plain = self.plain(network, "constant"), self.plain(network, "task")
        ends = self.values(network, method, "task").values()
        ways = [(end - constant) / (plain - constant) for end in ends]
        return sum(not way > AT_CHANCE for way in ways), len(ways)


def read(
    networks: Mapping[str, Network],
    folder: Path = STORED,
    part: str = "test",
    scale: str = "default",
) -> Outcomes:
    """The runs in a folder."""
    return Outcomes(networks, runs_in(networks, folder, scale), part)


def runs_in(
    networks: Iterable[str], folder: Path, scale: str
) -> dict[str, list[dict[str, Any]]]:
    return {name: Store(folder, name, scale).runs() for name in networks}
