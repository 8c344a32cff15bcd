"""The penalty's default form and weight: chosen by validation data.

The rule was written down before the runs. Seeds are of their own.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from manipulation import outcomes
from manipulation.methods import TRIED
from manipulation.networks import Network

RULE = (
    "A penalty is allowed if none of its trainings ends at chance, and if the task is "
    "worse by more than its margin, by more than a standard error, in at most one "
    "network. Of those allowed the one is chosen that lowers the tail by at least 15 % "
    "and selectivity too in the most networks; of equal ones that with the smaller "
    "mean loss of the task, in margins. All by validation data of the seeds "
    f"{outcomes.VALIDATION_SEEDS[0]} to {outcomes.VALIDATION_SEEDS[-1]}."
)
LEAST = 0.15
FALLBACK = "phi:weight=0.01"  # of a quick run, which chooses nothing
FILE = "choice.json"


@dataclass(frozen=True)
class Candidate:
    """What validation data say about a penalty: numbers of networks, and of runs."""

    method: str
    networks: int
    lowers: int
    harms: int
    at_chance: int
    runs: int
    loss: float

    @property
    def allowed(self) -> bool:
        return not self.at_chance and self.harms <= 1


def candidates(found: outcomes.Outcomes) -> list[Candidate]:
    return [_candidate(found, method) for method in TRIED]


def _candidate(found: outcomes.Outcomes, method: str) -> Candidate:
    lowers, harms, chance, runs, losses = 0, 0, 0, 0, []
    for name in found.networks:
        tail = found.in_unit(name, method, "tail").mean()
        selectivity = found.changes(name, method, "selectivity").mean()
        lowers += bool(tail <= -LEAST and selectivity < 0)
        task = found.in_unit(name, method, "task", "margin")
        error = task.std(ddof=1) / np.sqrt(len(task))
        harms += bool(task.mean() + error < -1)
        ended, number = found.at_chance(name, method)
        chance, runs = chance + ended, runs + number
        losses.append(-task.mean())
    return Candidate(
        method, len(losses), lowers, harms, chance, runs, float(np.mean(losses))
    )


def chosen(tried: list[Candidate]) -> str:
    """By the rule; if none is allowed, the one that does the least harm."""
    allowed = [c for c in tried if c.allowed]
    if not allowed:
        return min(tried, key=lambda c: (c.at_chance, c.harms, c.loss)).method
    return max(allowed, key=lambda c: (c.lowers, -c.loss)).method


def choose(networks: Mapping[str, Network], folder: Path) -> str:
    """Choose, store and say so."""
    tried = candidates(outcomes.read(networks, folder, "validation"))
    found = {
        "rule": RULE,
        "chosen": chosen(tried),
        "candidates": [asdict(candidate) for candidate in tried],
    }
    (folder / FILE).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    lines = [RULE, *(f"  {candidate}" for candidate in tried)]
    return "\n".join([*lines, f"Chosen: {found['chosen']}"])


def default(folders: tuple[Path, ...], quick: bool) -> str:
    """What was chosen, by the first folder that has it."""
    for folder in folders:
        path = folder / FILE
        if path.exists():
            found: str = json.loads(path.read_text("utf-8"))["chosen"]
            return found
    if quick:
        return FALLBACK
    raise SystemExit(
        f"Nothing is chosen in {' or '.join(map(str, folders))}. Run this with "
        "--validation, then with --choose."
    )
