"""Bounds, tables and verdict from what the processes measured."""

import datetime
import math
import statistics

# What the library promises. Names as in candidates.py, which imports a backend.
OURS = "MonosemanticInhibition"
NORM = "BatchNormalization"
AUTHORS = "authors' EmeL"
TIME_LIMIT = {"tensorflow": 1.25, "torch": 1.25, "jax": 2.0}
AUTHORS_LIMIT = {(256, 1024): 1.0, (32, 128, 768): 0.6}
EXTRA_ACTIVATIONS = 0.5
JUDGED_SHAPES = ((256, 1024), (32, 128, 768), (64, 32, 32, 64))

# Student's t, 97.5 % quantile, by degrees of freedom from 1 to 20.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)


def bounds(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean and its 95 % t interval over processes, taken on logarithms."""
    logs = [math.log(r) for r in ratios]
    middle = statistics.fmean(logs)
    freedom = len(logs) - 1
    t = _T[min(freedom, len(_T)) - 1]  # beyond the table the last errs to the safe side
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def combine(timed: list[dict], counted: dict, judged: bool) -> dict:
    """Everything that is reported, from the timing processes and the memory process."""
    about = {
        **timed[0]["about"],
        "load": [run["about"]["load"] for run in timed],
        "date": now(),
        "processes": len(timed),
    }
    shapes = []
    for index, memory in enumerate(counted["shapes"]):
        runs = [run["shapes"][index]["values"] for run in timed]
        shape = tuple(memory["shape"])
        activation = 4 * math.prod(shape)
        rows = {
            name: {
                "ms": [run[name]["ms"] for run in runs],
                "ratios": {
                    base: [run[name]["ratio_to"][base] for run in runs]
                    for base in runs[0][name]["ratio_to"]
                },
                "activations": memory["values"][name] / activation,
            }
            for name in runs[0]
        }
        shapes.append({"shape": shape, "bytes": activation, "rows": rows})
    verdict = [v for s in shapes for v in _verdict(s, about["backend"])]
    return {"about": about, "shapes": shapes, "verdict": verdict if judged else []}


def _verdict(measured: dict, backend: str) -> list[dict]:
    shape, rows = measured["shape"], measured["rows"]
    if shape not in JUDGED_SHAPES:
        return []
    ours = rows[OURS]
    memory = rows[NORM]["activations"] + EXTRA_ACTIVATIONS
    limits = [
        ("time / BatchNormalization", ours["ratios"][NORM], TIME_LIMIT[backend]),
    ]
    if AUTHORS in rows and shape in AUTHORS_LIMIT:
        limits.append(
            ("time / authors' module", ours["ratios"][AUTHORS], AUTHORS_LIMIT[shape])
        )
    found = [(what, bounds(ratios)[2], limit) for what, ratios, limit in limits]
    found.append(("memory in activations", ours["activations"], memory))
    return [
        {
            "shape": shape,
            "what": what,
            "limit": limit,
            "found": value,
            "ok": value <= limit + 1e-9,
        }
        for what, value, limit in found
    ]


def text(result: dict) -> str:
    about = result["about"]
    title = f"Forward and backward pass on {about['backend']}: {about['mode']}"
    lines = [title, *about_lines(about)]
    for measured in result["shapes"]:
        lines += ["", *_table(measured)]
    if result["verdict"]:
        lines += ["", *_verdict_lines(result["verdict"])]
    return "\n".join(lines)


def about_lines(about: dict) -> list[str]:
    """What was measured with, where, when and how."""
    loads = about["load"]
    return [
        ", ".join(f"{name} {v}" for name, v in about["versions"].items()),
        ", ".join(filter(None, [about["accelerator"], about["machine"]]))
        + f", {about['cpus']} usable, "
        f"load {min(loads)} to {max(loads)}, {about['date']}",
        f"{about['processes']} processes; ratios are paired within a round; "
        "[95 % bounds over processes]",
    ]


def _table(measured: dict) -> list[str]:
    rows = measured["rows"]
    bases = [b for b in ("copy", NORM, AUTHORS) if b in rows]
    header = ["layer", "ms", *(f"time / {b}" for b in bases), "memory"]
    body = []
    for name, row in rows.items():
        ratios = ["1" if b == name else _ratio(row["ratios"][b]) for b in bases]
        ms = f"{statistics.median(row['ms']):.2f}"
        body.append([name, ms, *ratios, f"{row['activations']:.2f}"])
    size = measured["bytes"] / 2**20
    title = (
        f"{list(measured['shape'])}   memory in activations of {size:.1f} MiB beyond "
        "the inputs"
    )
    return [title, *aligned([header, *body])]


def _ratio(ratios: list[float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*bounds(ratios))


def _verdict_lines(verdict: list[dict]) -> list[str]:
    header = ["verdict", "", "upper bound", "limit", ""]
    body = [
        [
            str(list(v["shape"])),
            v["what"],
            f"{v['found']:.3f}",
            f"{v['limit']:.3f}",
            "OK" if v["ok"] else "MISSED",
        ]
        for v in verdict
    ]
    return aligned([header, *body])


def aligned(table: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w)
            for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return [lines[0], "  " + "-" * (len(lines[0]) - 2), *lines[1:]]
