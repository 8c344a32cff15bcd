"""What a training step of a transformer costs with our layers, beside one without.

    KERAS_BACKEND=jax python benchmarks/step.py [--check] [--large]

Trains the same 12-block transformer plain and with each method, in several fresh
processes, step by step in turn, and prints the time of a step relative to the plain
model's with 95 % bounds. README.md beside this file says how it is measured.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import processes
import report

SMALL = {"width": 256, "length": 128, "batch": 8, "blocks": 12, "dtype": "float32"}
LARGE = {**SMALL, "width": 1024, "length": 512, "dtype": "mixed_bfloat16"}
METHODS = ("top-1", "top-50", "threshold 0.02", "penalty", "relative")
PLACES = {"block": "block outputs", "MLP": "MLP hidden units"}
# Percent of the plain step, for the upper end of the interval, without --large.
LIMITS = {"top-1": 5.0, "threshold 0.02": 3.0, "penalty": 3.0}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--large", action="store_true", help="an accelerator: 4 times as wide, bf16")
    add("--methods", nargs="+", choices=METHODS, default=METHODS)
    add("--places", nargs="+", choices=list(PLACES), default=list(PLACES))
    add("--processes", type=int, default=5, help="at least 2 (default 5)")
    add("--rounds", type=int, default=20, help="steps of each a process (default 20)")
    add("--json", type=Path, help="write everything measured to this file")
    add("--check", action="store_true", help="exit status 1 if a limit is missed")
    given = parser.parse_args()
    if given.processes < 2 or given.rounds < 2:
        parser.error("bounds need at least 2 --processes and 2 --rounds.")
    return given


def main() -> int:
    given = arguments()
    task = {
        **(LARGE if given.large else SMALL),
        "accelerator": given.large,
        "methods": given.methods,
        "places": given.places,
        "rounds": given.rounds,
    }
    runs = []
    for seed in range(given.processes):
        processes.say(f"process {seed + 1} of {given.processes}")
        runs.append(processes.run("step_process.py", {**task, "seed": seed}))
    result = combine(task, runs, judged=not given.large)
    print(text(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    missed = [r for r in result["rows"] if r["limit"] and r["upper"] > r["limit"]]
    return 1 if given.check and missed else 0


def combine(task: dict, runs: list[dict], judged: bool) -> dict:
    rows = []
    for name in runs[0]["values"]:
        method, _, place = name.partition(", ")
        ratio, low, high = report.bounds([r["values"][name]["ratio"] for r in runs])
        rows.append(
            {
                "method": method,
                "place": PLACES.get(place, ""),
                "ms": statistics.median(r["values"][name]["ms"] for r in runs),
                "overhead": 100 * (ratio - 1),
                "lower": 100 * (low - 1),
                "upper": 100 * (high - 1),
                "limit": LIMITS.get(method) if judged else None,
            }
        )
    return {
        "task": task,
        "about": {
            **runs[0]["about"],
            "load": [r["about"]["load"] for r in runs],
            "date": report.now(),
            "processes": len(runs),
        },
        "rows": rows,
        "runs": [r["values"] for r in runs],
    }


def text(result: dict) -> str:
    task = result["task"]
    size = (
        f"12 blocks, width {task['width']}, length {task['length']}, "
        f"batch {task['batch']}"
    )
    header = ["method", "where", "ms a step", "more than plain, %", "limit", ""]
    body = []
    for row in result["rows"]:
        plain = row["method"] == "plain"
        more = "{overhead:.1f} [{lower:.1f}, {upper:.1f}]".format(**row)
        limit = row["limit"]
        body.append(
            [
                row["method"],
                row["place"],
                f"{row['ms']:.1f}",
                "" if plain else more,
                f"{limit:g}" if limit else "",
                "" if not limit else "OK" if row["upper"] <= limit else "MISSED",
            ]
        )
    return "\n".join(
        [
            f"Training step on {result['about']['backend']}: {size}",
            *report.about_lines(result["about"]),
            "",
            *report.aligned([header, *body]),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
