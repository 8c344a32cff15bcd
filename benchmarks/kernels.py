"""What a training call of our layers would do on a GPU, counted without one.

    KERAS_BACKEND=torch python benchmarks/kernels.py [--compile] [--all] [--list]
    KERAS_BACKEND=jax python benchmarks/kernels.py     # or tensorflow

Prints tables in Markdown. On PyTorch: how many kernels a training call starts, forward
and backward, and how many activations of memory they move. On JAX and TensorFlow: what
the compiled call holds. README.md beside this file says how it is counted.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]

import keras  # noqa: E402

from support.counted_layers import CASES, FEW, SHAPE, Case  # noqa: E402

KINDS = {
    "first": "first batch",
    "ordinary": "ordinary batch",
    "looking": "with a new τ",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", default="", help="cases whose name has this, as 'top-1, axis=-1'")
    add("--all", action="store_true", help="PyTorch: a row for each axis and mask too")
    add("--compile", action="store_true", help="PyTorch: torch.compile too (minutes)")
    add("--list", action="store_true", help="PyTorch: the operations, in order")
    add("--batch", choices=KINDS, default="ordinary", help="of --list")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    print(f"Keras {keras.__version__} on {keras.config.backend()}, {[*SHAPE]}\n")
    cases = [case for case in CASES if given.only in str(case)]
    few = [case for case in FEW if given.only in str(case)]
    if keras.config.backend() != "torch":
        for way, rows in _compiled(few):
            print(f"{way}\n")
            _print_table(rows)
    elif given.list:
        _list(cases, given.batch)
    else:
        _print_table(_counted(cases, given.all))
        if given.compile:
            _print_table(_generated(few))


def _print_table(rows: list[list[object]]) -> None:
    header, *body = rows
    for row in (header, ["---"] * len(header), *body):
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def _counted(cases: list[Case], each: bool) -> list[list[object]]:
    """A row for each layer and selector: of its cases, the one that takes the most."""
    from support import accelerator

    norm = accelerator.training_calls(keras.layers.BatchNormalization)[0]
    rows = [
        ["layer", *KINDS.values()],
        ["BatchNormalization", "", _figures([norm]), ""],
    ]
    names = [str(case) if each else case.name for case in cases]
    for name in dict.fromkeys(names):
        named = [c for c, n in zip(cases, names, strict=True) if n == name]
        rows.append([name, *_cells(named)])
    return rows


def _cells(cases: list[Case]) -> list[str]:
    from support import accelerator

    try:
        found = [accelerator.batches(case) for case in cases]
    except accelerator.HostRead as error:
        print(f"{cases[0]}: {error}", file=sys.stderr)
        return ["host read"] * len(KINDS)
    cells = [_figures([getattr(batches, kind) for batches in found]) for kind in KINDS]
    if cases[0].select != "threshold":
        cells[-1] = ""
    return cells


def _figures(found: list) -> str:
    most = max(found, key=lambda operations: operations.kernels)
    traffic = max(operations.traffic for operations in found)
    uploads = f", {most.uploads} uploads" if most.uploads else ""
    return f"{most.forward} + {most.backward}, {traffic:.1f}{uploads}"


def _list(cases: list[Case], kind: str) -> None:
    from support import accelerator

    for case in cases:
        try:
            listed = getattr(accelerator.batches(case), kind)
        except accelerator.HostRead as error:
            listed = error
        print(f"{case}, {KINDS[kind]}\n{listed}\n")


def _generated(cases: list[Case]) -> list[list[object]]:
    from support import generated_kernels

    rows: list[list[object]] = [
        ["layer under torch.compile", "kernels", "of a search", "traffic"]
    ]
    for case in cases:
        try:
            found = generated_kernels.generated(case)
        except generated_kernels.DoesNotCompile as error:
            print(f"{case}: {error}", file=sys.stderr)
            rows.append([case, "does not compile", "", ""])
            continue
        for kernels, searching, traffic in found:  # one, unless it compiles again
            rows.append([case, kernels, searching or "", f"{traffic:.1f}"])
    return rows


def _compiled(cases: list[Case]) -> Iterator[tuple[str, list[list[object]]]]:
    from support import compiled_step

    for way, make in compiled_step.WAYS.items():
        if not way.startswith(keras.config.backend()):
            continue
        rows = [["layer", *compiled_step.Counts._fields, "sorts", "host calls"]]
        norm = make(keras.layers.BatchNormalization(), SHAPE)
        rows.append(["BatchNormalization", *_compiled_cells(norm)])
        for case in cases:
            rows.append([str(case), *_compiled_cells(make(case.make(), SHAPE))])
        yield way, rows


def _compiled_cells(found: list) -> list[object]:
    from support.compiled_step import HOST_CALLS, SORTS, counts

    sorts = [o for o in found if SORTS.search(o.name)]
    always = sum(o.always for o in sorts)
    shown = f"{always}, {len(sorts) - always} on a condition" if sorts else "0"
    hosts = sum(bool(HOST_CALLS.search(o.name)) for o in found)
    return [*counts(found, math.prod(SHAPE)), shown, hosts]


if __name__ == "__main__":
    main()
