"""Counts of passed, failed and skipped tests, the table of them and its last line."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What came of a step; `note` says what the counts cannot."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""


def of_step(name: str, status: int, report: Path | None, seconds: float) -> Result:
    """The result of a step that ended with `status` (0: all is well)."""
    if report is None:
        return Result(name, int(status == 0), int(status != 0), 0, seconds)
    try:
        suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return Result(name, 0, 1, 0, seconds, f"no report, exit status {status}")

    def total(attribute: str) -> int:
        return sum(int(suite.get(attribute, 0)) for suite in suites)

    failed = total("failures") + total("errors")
    skipped = total("skipped")
    passed = total("tests") - failed - skipped
    if failed == 0 and (status != 0 or passed == 0):
        return Result(name, passed, 1, skipped, seconds, f"exit status {status}")
    return Result(name, passed, failed, skipped, seconds)


def on_trial(result: Result, what: str) -> Result:
    """The result of a step that may fail: its failures are shown and not counted."""
    note = what
    if result.failed:
        note = f"{what}: {result.failed} failed, which does not count"
        if result.note:
            note += f" ({result.note})"
    skipped = result.skipped + result.failed
    return replace(result, failed=0, skipped=skipped, note=note)


def table(results: list[Result]) -> str:
    width = max(len(r.name) for r in results)
    lines = [f"{'step':{width}}  passed  failed  skipped  seconds"]
    for r in results:
        line = (
            f"{r.name:{width}}  {r.passed:6}  {r.failed:6}  {r.skipped:7}"
            f"  {r.seconds:7.1f}  {r.note}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def closing_line(results: list[Result], seconds: float) -> str:
    """The totals, in the form of pytest's own last line."""
    totals = {
        "failed": sum(r.failed for r in results),
        "passed": sum(r.passed for r in results),
        "skipped": sum(r.skipped for r in results),
    }
    counts = ", ".join(f"{n} {what}" for what, n in totals.items() if n)
    clock = f" ({timedelta(seconds=int(seconds))})" if seconds >= 60 else ""
    return f" {counts or 'no tests ran'} in {seconds:.2f}s{clock} ".center(80, "=")


def all_is_well(results: list[Result]) -> bool:
    return any(r.passed for r in results) and not any(r.failed for r in results)
