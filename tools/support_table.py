"""docs/support.md, written from what the tests of a `make test` run reported.

    python3 tools/support_table.py      after `make test`, writes the page

A cell stands for the tests marked `support(row)` on one backend: all of them ran there
and passed. `make test` itself compares the page with its own reports.
"""

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".reports"
PAGE = ROOT / "docs" / "support.md"
NAMES = {"jax": "JAX", "torch": "PyTorch", "tensorflow": "TensorFlow"}
CHAPTERS = {
    "tests.distribution.test_statistics": "Many devices",
    "tests.distribution.test_process_groups": "Many devices",
    "tests.distribution.test_reduce_every": "Many devices",
    "tests.robustness.test_precision": "Precision",
    "tests.robustness.test_interruptions": "Interruptions",
    "tests.callbacks.test_resumed_schedule": "Interruptions",
    "tests.robustness.test_bad_statistics": "Interruptions",
    "tests.robustness.test_training_options": "What Keras offers around training",
    "tests.robustness.test_memory": "What Keras offers around training",
    "tests.layers.test_training": "Ways to train",
    "tests.layers.test_symbolic_shapes": "Ways to train",
    "tests.layers.test_saving": "Saving and serving",
    "tests.layers.test_settings": "Saving and serving",
    "tests.serving.test_export": "Saving and serving",
}
HEAD = """# What is supported, by backend

Written by `python3 tools/support_table.py` from the reports of `make test`: every cell
stands for tests that ran on that backend and passed, and `make test` fails if the page
says something else. "Keras' error" means that a plain Keras model, or one with
`BatchNormalization`, fails there in the same way, and the test has seen it.
— : not offered on that backend, or not ours to test there.
"""


def page(folder: Path = REPORTS) -> str:
    """The page that the reports in a folder prove.

    Raises:
        ValueError: if a test that is behind a cell failed, or two say different things.
    """
    cells: dict[str, dict[str, dict[str, str]]] = {c: {} for c in CHAPTERS.values()}
    for report in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            chapter = CHAPTERS.get(case.get("classname", ""))
            for row, backend, cell in _claims(case):
                if chapter is None:
                    raise ValueError(f"{case.get('classname')} is in no chapter")
                known = cells[chapter].setdefault(row, {}).setdefault(backend, cell)
                if known != cell:
                    raise ValueError(f"'{row}' is {known!r} and {cell!r} on {backend}")
    parts = [HEAD]
    for chapter, rows in cells.items():
        parts.append(f"\n## {chapter}\n\n| | {' | '.join(NAMES.values())} |\n")
        parts.append(f"| --- |{' --- |' * len(NAMES)}\n")
        for row in sorted(rows):
            texts = [rows[row].get(backend, "—") for backend in NAMES]
            parts.append(f"| {row} | {' | '.join(texts)} |\n")
    return "".join(parts)


def _claims(case: ElementTree.Element) -> Iterator[list[str]]:
    """What a test case says it proves: row, backend and cell. Nothing if skipped."""
    values = [
        p.get("value", "").split("|")
        for p in case.iter("property")
        if p.get("name") == "support"
    ]
    if values and (case.find("failure") is not None or case.find("error") is not None):
        raise ValueError(
            f"{case.get('name')}, which is behind '{values[0][0]}', failed"
        )
    return iter(values if case.find("skipped") is None else [])


def random_cases(folder: Path = REPORTS) -> int:
    """How many random cases the property tests of a run passed."""
    return sum(
        int(entry.get("value", 0))
        for report in folder.glob("*.xml")
        for entry in ElementTree.parse(report).getroot().iter("property")
        if entry.get("name") == "random cases"
    )


def difference() -> str:
    """What is wrong with the page; empty if it is what the reports prove."""
    try:
        proved = page()
    except ValueError as error:
        return str(error)
    if PAGE.exists() and PAGE.read_text("utf-8") == proved:
        return ""
    return (
        "docs/support.md is not what the tests report: python3 tools/support_table.py"
    )


if __name__ == "__main__":
    if not list(REPORTS.glob("*.xml")):
        sys.exit("no reports: run `make test` first")
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}; {random_cases()} random cases passed")
