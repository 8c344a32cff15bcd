"""Compare what the backends wrote: `python report.py FOLDER BACKEND BACKEND ...`.

Prints a table of the largest differences; the exit status is 1 if one is too large, or
if a backend selected nothing.

A difference of statistics, weights or outputs is relative to the root mean square of
its tensor: single elements may lie near 0, where a ratio says nothing. One of φ is
relative to φ or to the k-th largest of its row, which decides what is selected, if that
is larger.
"""

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import networks
import numpy as np
from networks import Arrays
from worker import FIT_K, STEP_K

TOLERANCE = 1e-4
# How far inhibition must have moved the weights, for their agreement to say anything.
MOVED = 100 * TOLERANCE
# Where φ lies this close to the k-th largest, rounding may decide.
TIE = 1e-5


class Row(NamedTuple):
    """A line of the table: a measurement, and whether it is as it has to be."""

    what: str
    who: str
    measured: str
    wanted: str
    well: bool


def main(folder: Path, backends: list[str]) -> int:
    well = True
    for network in networks.NETWORKS:
        fits = {b: _load(folder / b / f"{network}-fit.npz") for b in backends}
        steps = {
            b: [
                _load(folder / b / f"{network}-step-{step}.npz")
                for step in range(networks.STEPS)
            ]
            for b in backends
        }
        well &= _print(f"{network}: fit, {networks.STEPS} steps, k={FIT_K}", fit(fits))
        title = f"{network}: {networks.STEPS} single steps from the same state"
        well &= _print(f"{title}, k={STEP_K}", single_steps(steps))
    print("The backends agree." if well else "The backends DO NOT agree.")
    return 0 if well else 1


def fit(found: dict[str, Arrays]) -> Iterator[Row]:
    """(a) One `fit` on each backend from the same weights."""
    for backend, result in found.items():
        yield _selects(backend, [result["selected"]], FIT_K)
        moved = largest_difference(_part(result, "plain"), _part(result, "weights"))
        well = bool(MOVED <= moved < np.inf)
        what = "weights moved by inhibition"
        yield Row(what, backend, f"{moved:.1e}", f">= {MOVED:.0e}", well)
    for one, other in combinations(found, 2):
        for kind in ("statistics", "outputs", "weights"):
            parts = [(_part(found[one], kind), _part(found[other], kind))]
            yield _agrees(kind, f"{one}, {other}", parts)


def single_steps(found: dict[str, list[Arrays]]) -> Iterator[Row]:
    """(b) Each step from weights and state that were copied between backends."""
    started = slice(networks.START_STEP, None)
    for backend, steps in found.items():
        early = sum(
            int(step["selected"].sum()) for step in steps[: networks.START_STEP]
        )
        yield Row("selected too early", backend, str(early), "0", early == 0)
        yield _selects(backend, [step["selected"] for step in steps[started]], STEP_K)
    for one, other in combinations(found, 2):
        who = f"{one}, {other}"
        pairs = list(zip(found[one], found[other], strict=True))
        yield from _same_selection(who, pairs[started])
        for kind in ("statistics", "weights"):
            parts = [(_part(a, kind), _part(b, kind)) for a, b in pairs]
            yield _agrees(f"{kind} after a step", who, parts)


def largest_difference(one: Arrays, other: Arrays) -> float:
    """Relative to the root mean square of each array; infinite if they do not fit."""
    if set(one) != set(other) or not one:
        return math.inf
    largest = 0.0
    for name, a in one.items():
        b = other[name]
        if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            return math.inf
        size = np.sqrt(np.mean(np.square(a, dtype="float64")))
        difference = np.abs(a.astype("float64") - b).max()
        if difference > 0:
            largest = max(largest, difference / size if size > 0 else np.inf)
    return largest


def kth_largest(phi: np.ndarray) -> np.ndarray:
    """Of each row, ranked over the last axis, where both networks select."""
    kth = np.partition(phi, -STEP_K, axis=-1)[..., [-STEP_K]]
    positive: np.ndarray = np.maximum(kth, np.finfo("float32").tiny)
    return positive


def _same_selection(who: str, pairs: list[tuple[Arrays, Arrays]]) -> Iterator[Row]:
    """The choices may differ only where both backends see φ next to the k-th."""
    count, total, furthest, phi_difference = 0, 0, 0.0, 0.0
    for one, other in pairs:
        a, b = one["phi"].astype("float64"), other["phi"].astype("float64")
        differs = one["selected"] != other["selected"]
        count += int(differs.sum())
        total += int(one["selected"].sum())
        for phi in (a, b):
            kth = kth_largest(phi)
            distance = np.abs(phi - kth) / kth
            furthest = max(furthest, distance[differs].max(initial=0.0))
        difference = np.abs(a - b) / np.maximum(a, kth_largest(a))
        phi_difference = np.maximum(phi_difference, difference.max())  # keeps NaN
    yield Row("φ", who, *_at_most(phi_difference, TOLERANCE))
    yield Row("selected by only one", who, str(count), f"of {total}", True)
    yield Row("furthest of these from the k-th", who, *_at_most(furthest, TIE))


def _selects(backend: str, selections: Iterable[np.ndarray], k: int) -> Row:
    """At least k of every row, so that there is something to agree about."""
    fewest = min(int(selected.sum(axis=-1).min()) for selected in selections)
    return Row("fewest selected", backend, str(fewest), f">= {k}", fewest >= k)


def _agrees(what: str, who: str, parts: Iterable[tuple[Arrays, Arrays]]) -> Row:
    largest = max(largest_difference(a, b) for a, b in parts)
    return Row(what, who, *_at_most(largest, TOLERANCE))


def _at_most(measured: float, bound: float) -> tuple[str, str, bool]:
    return f"{measured:.1e}", f"<= {bound:.0e}", bool(measured <= bound)


def _part(result: Arrays, prefix: str) -> Arrays:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): value
        for name, value in result.items()
        if name.startswith(start)
    }


def _load(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def _print(title: str, rows: Iterable[Row]) -> bool:
    print(title)
    print(f"  {'largest difference, or count':31}  {'on':17}  measured  wanted")
    well = True
    for row in rows:
        verdict = "" if row.well else "  FAILED"
        line = f"  {row.what:31}  {row.who:17}  {row.measured:>8}  {row.wanted:8}"
        print((line + verdict).rstrip())
        well &= row.well
    print()
    return well


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
