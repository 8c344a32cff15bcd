"""Does each method do what it is named after? Runs for docs/manipulation.md.

    KERAS_BACKEND=jax python studies/manipulation_study.py
    KERAS_BACKEND=jax python studies/manipulation_study.py --row "mlp-digits/naive-a"
    KERAS_BACKEND=jax python studies/manipulation_study.py --quick      # a few minutes

Trains every method in every network from the same seeds and adds a line to
FOLDER/NETWORK.jsonl for each run; a run that is there is not run again. `--validation`
runs the seeds that choose the penalty's default form and weight, `--choose` chooses.
With `--row` only what one row of the page needs; then it says whether the outcome
agrees with the stored one.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from evidence import agreement
from evidence.seeds import seeds_of
from evidence.store import Store, about
from manipulation import choice, outcomes
from manipulation.measures import Measuring
from manipulation.methods import TRIED, methods
from manipulation.networks import Network, networks

QUICK_SEEDS = [0]


def main() -> int:
    given = arguments()
    found = networks(given.quick)
    names = given.network or list(found)
    if given.row:
        names = [given.row.partition("/")[0]]
    for name in names:
        if name not in found:
            sys.exit(f"No network {name!r}. There are: {', '.join(found)}.")
    chosen = [found[name] for name in names]
    if given.choose:
        print(choice.choose(found, given.out))
        return 0
    wanted = wanted_by(given)
    run(chosen, list(dict.fromkeys(["plain", *wanted])), given)
    if given.row and not given.quick:
        return 0 if repeated(chosen[0], wanted[0], given) else 1
    return 0


def wanted_by(given: argparse.Namespace) -> list[str]:
    """Methods beside plain."""
    if given.row:
        return [given.row.partition("/")[2]]
    if given.method:
        return list(given.method)
    if given.validation:
        return list(TRIED)
    return methods(choice.default((given.out, outcomes.STORED), given.quick))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", help="only these")
    parser.add_argument("--method", nargs="+", help="only these, beside plain")
    parser.add_argument("--row", help="only this row of the page, NETWORK/METHOD")
    parser.add_argument("--seeds", help="such as 0-11 or 100-111; default 0-11")
    parser.add_argument(
        "--validation", action="store_true", help="the penalties, on seeds of their own"
    )
    parser.add_argument("--choose", action="store_true", help="from these runs")
    parser.add_argument(
        "--quick", action="store_true", help="one seed (0) and tiny models"
    )
    parser.add_argument("--out", type=Path, default=Path("output/manipulation"))
    given = parser.parse_args()
    own = outcomes.VALIDATION_SEEDS
    default = f"{own[0]}-{own[-1]}" if given.validation else "0-11"
    given.seeds = seeds_of(given.seeds or default, parser)
    if given.quick:
        given.seeds = given.seeds[:1]
    return given


def run(found: list[Network], wanted: list[str], given: argparse.Namespace) -> None:
    """Run what is missing, seed by seed: all methods have equally many at any time."""
    console = Console(highlight=False)
    scale = "quick" if given.quick else "default"
    trainers: dict[str, Measuring] = {}
    for seed in given.seeds:
        for network in found:
            store = Store(given.out, network.name, scale)
            store.check(about())
            done = store.done()
            paths = [network.path(method) for method in wanted]
            missing = [path for path in paths if (path, seed) not in done]
            if not missing:
                continue
            if network.name not in trainers:
                trainers[network.name] = Measuring(network)
            started = time.perf_counter()
            for path in missing:
                made = trainers[network.name].run(path, seed)
                line = {"setting": network.name, "path": path, "seed": seed}
                store.add({**line, **made, **about()})
            seconds = time.perf_counter() - started
            console.print(
                f"{network.name}, seed {seed}: {len(missing)} runs, {seconds:.0f} s"
            )


def repeated(network: Network, method: str, given: argparse.Namespace) -> bool:
    """Print the row's changes beside the stored ones; do they agree?"""

    def found(folder: Path) -> dict[str, np.ndarray]:
        of = outcomes.read({network.name: network}, folder)
        if not of.networks:
            return {}
        each = {f: of.changes(network.name, method, f) for f in outcomes.FIGURES}
        return {figure: values for figure, values in each.items() if len(values)}

    now, before = found(given.out), found(outcomes.STORED)
    before = {figure: before.get(figure, ()) for figure in now}
    return agreement.shown(f"{network.name}/{method}, change by", "", now, before)


if __name__ == "__main__":
    sys.exit(main())
