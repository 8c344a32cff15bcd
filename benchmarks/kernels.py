"""What a training call of our layers would do on a GPU, counted without one.

    KERAS_BACKEND=torch python benchmarks/kernels.py [--list CASE]

Prints a table in Markdown: how many kernels a training call starts on PyTorch, forward
and backward, and how many activations of memory they move. README.md beside this file
says how it is counted.
"""

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests" / "support")]

import keras  # noqa: E402

if keras.config.backend() != "torch":
    raise SystemExit("kernels.py counts on PyTorch: set KERAS_BACKEND=torch.")

import accelerator  # noqa: E402

HEADER = ["layer", "selects", "axis", "mask", "first", "ordinary", "with a new τ"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", default="", help="cases whose name has this, as 'Penalty l2e, top-1'")
    add("--list", action="store_true", help="the operations of an ordinary batch")
    add("--first", action="store_true", help="with --list: of the first batch")
    add("--looking", action="store_true", help="with --list: of one with a new τ")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    cases = [case for case in accelerator.CASES if given.only in str(case)]
    if given.list:
        kind = "first" if given.first else "looking" if given.looking else "ordinary"
        for case in cases:
            print(f"{case}, {kind} batch\n{_listed(case, kind)}\n")
        return
    rows = [HEADER, ["---"] * len(HEADER), *_others(), *map(_row, cases)]
    for row in rows:
        print("| " + " | ".join(row) + " |")


def _others() -> list[list[str]]:
    """Layers to compare with."""
    norm = accelerator.training_calls(keras.layers.BatchNormalization)[0]
    return [["`BatchNormalization`", "", "-1", "", "", _figures(norm), ""]]


def _row(case: accelerator.Case) -> list[str]:
    layer, select, axis, masked = case
    name, _, form = layer.partition(" ")
    layer = f"`{name}`" + (f", {form}" if form else "")
    mask = "yes" if masked else ""
    return [layer, select, str(axis), mask, *_cells(case)]


def _cells(case: accelerator.Case) -> list[str]:
    try:
        found = accelerator.batches(case)
    except accelerator.HostRead as error:
        print(f"{case}: {error}", file=sys.stderr)
        return ["host read"] * 3
    looking = _figures(found.looking) if found.number_looking else ""
    return [_figures(found.first), _figures(found.ordinary), looking]


def _figures(found: accelerator.Operations) -> str:
    uploads = f", {found.uploads} uploads" if found.uploads else ""
    return f"{found.forward} + {found.backward}, {found.traffic:.1f}{uploads}"


def _listed(case: accelerator.Case, kind: str) -> str:
    try:
        return str(getattr(accelerator.batches(case), kind))
    except accelerator.HostRead as error:
        return str(error)


if __name__ == "__main__":
    main()
