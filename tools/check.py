"""`make test` and `make soak`: run tox, then add up what its environments report.

The last line is the total, in pytest's form. tox.ini says what runs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import support_table

REPORTS = support_table.REPORTS
TOX = Path(".envs", "tools", "bin", "tox")
BACKENDS = ("torch", "jax", "tensorflow")
SOAK = {
    "ONE_BACKEND": "",
    "HYPOTHESIS_PROFILE": "soak",
    "PYTEST_TIMEOUT": str(12 * 60 * 60),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", nargs="?", choices=BACKENDS)
    parser.add_argument("--soak", action="store_true", help="many more examples")
    arguments = parser.parse_args()
    start = time.monotonic()
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir()
    report = REPORTS / "tox.json"
    command = [str(TOX), "run", "--result-json", str(report)]
    if arguments.backend:
        also = ["serving"] if arguments.backend == "jax" else []
        also.append(f"nightly-{arguments.backend}")
        names = ["lint", "docs", arguments.backend, *also]
        command += ["-e", ",".join(names), "--", "tests"]
    variables = {**os.environ, "ONE_BACKEND": arguments.backend or "torch"}
    if arguments.soak:
        variables |= SOAK
    status = subprocess.run(command, env=variables).returncode

    try:
        found = dict(environments(json.loads(report.read_text())["testenvs"]))
    except (OSError, ValueError):
        found = {"tox": Counter(failed=1)}
    wrong = ""
    if not arguments.backend:
        wrong = support_table.difference()
        found["support table"] = Counter(failed=1) if wrong else Counter(passed=1)
    total = sum(found.values(), Counter[str]())
    if status and not total["failed"]:
        total["failed"] = 1
    for name, counts in found.items():
        print(f"{name:20} {described(counts)}")
    if wrong:
        print(wrong)
    print(f"random cases of the property tests: {support_table.random_cases()}")
    print(closing_line(total, time.monotonic() - start), flush=True)
    return 0 if total["passed"] and not total["failed"] else 1


def environments(found: dict[str, Any]) -> Any:
    """Names of environments and counts of what passed, failed and was skipped there."""
    for name, result in found.items():
        if "result" not in result:  # tox lists those that it was not to run, too
            continue
        runs = [run for run in result.get("test", []) if "pip" not in run["command"]]
        each = [of_command(run["command"], run["retcode"]) for run in runs]
        counts = sum(each, Counter[str]())
        if not (result["result"]["success"] or counts["failed"]):
            counts["failed"] = 1  # it was not installed
        if name.startswith("nightly") and counts["failed"]:  # on trial
            print(f"{name}: {counts['failed']} failed, which does not count")
            counts["skipped"] += counts.pop("failed")
        yield name, counts


def of_command(command: list[str], status: int) -> Counter[str]:
    """A command counts as one test, or as those in the report that it writes."""
    reports = [w.partition("=")[2] for w in command if w.startswith("--junit-xml=")]
    if not reports:
        return Counter(passed=int(status == 0), failed=int(status != 0))
    try:
        suites = list(ElementTree.parse(reports[0]).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return Counter(failed=1)

    def of(attribute: str) -> int:
        return sum(int(suite.get(attribute, 0)) for suite in suites)

    failed, skipped = of("failures") + of("errors"), of("skipped")
    passed = of("tests") - failed - skipped
    if status and not failed:
        failed = 1
    return Counter(passed=passed, failed=failed, skipped=skipped)


def described(counts: Counter[str]) -> str:
    words = [f"{counts[w]} {w}" for w in ("failed", "passed", "skipped") if counts[w]]
    return ", ".join(words) or "no tests ran"


def closing_line(total: Counter[str], seconds: float) -> str:
    clock = f" ({timedelta(seconds=int(seconds))})" if seconds >= 60 else ""
    return f" {described(total)} in {seconds:.2f}s{clock} ".center(80, "=")


if __name__ == "__main__":
    sys.exit(main())
