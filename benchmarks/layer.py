"""What MonosemanticInhibition costs, beside BatchNormalization and others.

    KERAS_BACKEND=torch python benchmarks/layer.py [--reference PATH/EmeL.py] [--check]

Runs forward and backward passes of each layer in several fresh processes, on the CPU
unless told otherwise. Prints times, paired ratios with 95 % bounds, peak memory, and a
verdict on the limits that this library sets itself. README.md beside this file says how
it is measured.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import processes
import report

SHAPES = ((256, 1024), (32, 128, 768), (64, 32, 32, 64))
LARGE_SHAPES = ((2048, 4096), (32, 512, 1024), (64, 56, 56, 96))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--shapes", nargs="+", type=shape, help="such as 256x1024 32x128x768")
    add("--large", action="store_true", help="add three shapes of 30 to 80 MiB")
    add("--processes", type=int, default=6, help="at least 2 (default 6)")
    add("--repeats", type=int, default=40, help="rounds a process (default 40)")
    add("--reference", type=Path, help="the authors' EmeL.py (torch only)")
    add("--accelerator", action="store_true", help="not on the CPU; no limits")
    add("--jit", action="store_true", help="XLA or torch.compile; no limits")
    add("--no-extras", action="store_true", help="leave out axis=-1 and k=50")
    add("--json", type=Path, help="write everything measured to this file")
    add("--check", action="store_true", help="exit status 1 if a limit is missed")
    given = parser.parse_args()
    if given.processes < 2 or given.repeats < 2:
        parser.error("bounds need at least 2 --processes and 2 --repeats.")
    elsewhere = given.accelerator or given.jit
    if given.check and elsewhere:
        parser.error("--check is of limits, which are for a CPU without --jit.")
    if given.accelerator and os.environ.get("KERAS_BACKEND") == "tensorflow":
        parser.error("--accelerator waits for no device of TensorFlow's.")
    if given.reference and not given.reference.is_file():
        parser.error(f"--reference {given.reference} is not a file.")
    return given


def shape(text: str) -> tuple[int, ...]:
    sizes = tuple(int(n) for n in text.lower().split("x"))
    if len(sizes) < 2 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected such as 256x1024, got {text}")
    return sizes


def main() -> int:
    given = arguments()
    shapes = given.shapes or [*SHAPES, *(LARGE_SHAPES if given.large else ())]
    task = {
        "shapes": shapes,
        "repeats": given.repeats,
        "reference": given.reference and str(given.reference.resolve()),
        "jit": given.jit,
        "accelerator": given.accelerator,
        "extras": not given.no_extras,
    }
    processes.say("memory")
    counted = processes.run("one_process.py", {**task, "measure": "memory", "seed": 0})
    timed = []
    for seed in range(given.processes):
        processes.say(f"time, process {seed + 1} of {given.processes}")
        timed.append(
            processes.run("one_process.py", {**task, "measure": "time", "seed": seed})
        )
    result = report.combine(timed, counted, judged=not (given.jit or given.accelerator))
    print(report.text(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    missed = [v for v in result["verdict"] if not v["ok"]]
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
