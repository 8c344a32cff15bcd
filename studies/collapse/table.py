"""What docs/monitor.md shows of the stored runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evidence.store import Store
from manipulation import outcomes
from manipulation.methods import place, title
from manipulation.networks import Network

DOCS = Path(__file__).resolve().parents[2] / "docs"
STORED, PAGE = DOCS / "data" / "collapse", DOCS / "monitor.md"
BEGIN = "<!-- collapses: written by studies/collapse_study.py -->"
END = "<!-- end -->"
COLLAPSES = "cnn-digits"
CHOSEN_BY = range(6)  # seeds of that network
METHODS = (
    "plain",
    "naive-a",
    "naive-b",
    "rd:strength=1",
    "rd-random:strength=1",
    "rd-si:strength=1",
    "rd-si:strength=5",
    "l2e:weight=0.01",
    "l2e:weight=0.03",
    "relative:weight=0.07",
    "phi:weight=0.003",
    "phi:weight=-0.001",
)
OTHERS = ("plain", "naive-b", "l2e:weight=0.03", "relative:weight=0.7")
COLUMNS = (
    "training",
    "trainings",
    "end at chance",
    "warned of before half",
    "later",
    "never",
    "warned of, and learn",
)


def runs_of(network: str) -> tuple[tuple[str, ...], Iterable[int]]:
    """Methods and seeds."""
    if network == COLLAPSES:
        return METHODS, range(12)
    if network == "cnn-normalized":
        return (*OTHERS, "phi:weight=-0.03"), range(2)
    return OTHERS, range(2) if network in ("mlp-digits", "gru-phrases") else range(1)


def text(networks: Mapping[str, Network], folder: Path = STORED) -> str:
    """The table: methods of the network that collapses, then the other networks."""
    before = outcomes.read(networks)
    runs = {name: Store(folder, name).runs() for name in networks}
    for name, found in runs.items():
        for run in found:
            run["chance"] = at_chance(run, before, name)
    ours, lines = runs[COLLAPSES], []
    for method in sorted({run["path"][-1] for run in ours}, key=place):
        some = [run for run in ours if run["path"][-1] == method]
        lines.append(row(f"`{COLLAPSES}`, {title(method)}", some))
    for name, found in runs.items():
        if name != COLLAPSES and found:
            lines.append(
                row(f"`{name}`, {len({*map(method_of, found)})} methods", found)
            )
    for label, which in (
        ("the criterion was chosen by", lambda seed: seed in CHOSEN_BY),
        ("the others", lambda seed: seed not in CHOSEN_BY),
    ):
        some = [run for run in ours if which(run["seed"])]
        seeds = sorted({run["seed"] for run in some})
        if seeds:
            range_of = f"seeds {seeds[0]} to {seeds[-1]}, {label}"
            lines.append(row(f"*`{COLLAPSES}`, {range_of}*", some))
    head = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return "\n".join([*head, *lines])


def method_of(run: Mapping[str, Any]) -> str:
    return str(run["path"][-1])


def at_chance(run: Mapping[str, Any], of: outcomes.Outcomes, name: str) -> bool:
    """As in the manipulation study, by the mean of its plain trainings."""
    constant, plain = of.plain(name, "constant"), of.plain(name, "task")
    end = run["figures"][of.networks[name].setting.primary]
    return not (end - constant) / (plain - constant) > outcomes.AT_CHANCE


def row(label: str, runs: list[dict[str, Any]]) -> str:
    bad = [run["told"] for run in runs if run["chance"]]
    early = sum(told is not None and told <= 0.5 for told in bad)
    missed = sum(told is None for told in bad)
    others = sum(run["told"] is not None for run in runs if not run["chance"])
    late = len(bad) - early - missed
    cells = [label, len(runs), len(bad), early, late, missed, others]
    return f"| {' | '.join(map(str, cells))} |"
