"""Every ```python block of the README and of docs/ runs.

The blocks of a file run in order, in a process of their own. A block does not run if
the line before it says so: `<!-- no-run: reason -->`. It is then listed as skipped.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from support.forked_scripts import errors_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NO_RUN = re.compile(r"<!-- no-run: (.+) -->")


class Block(NamedTuple):
    """Lines of code, the line number of the first, and why it does not run."""

    lines: list[str]
    start: int
    reason: str | None


def blocks_of(text):
    lines = text.split("\n")
    found = []
    opening = None
    for number, line in enumerate(lines):
        if opening is None and line.lstrip().startswith("```python"):
            assert line.strip() == "```python", f"line {number + 1}: {line!r}"
            assert line == line.lstrip(), f"line {number + 1}: an indented block"
            opening = number
        elif opening is not None and line.strip() == "```":
            mark = NO_RUN.fullmatch(lines[opening - 1].strip()) if opening else None
            reason = mark[1] if mark else None
            found.append(Block(lines[opening + 1 : number], opening + 2, reason))
            opening = None
    assert opening is None, f"the block at line {opening + 1} does not end"
    return found


def as_script(text):
    """The blocks that run, each on its own lines, so that tracebacks point there."""
    script = [""] * len(text.split("\n"))
    for block in blocks_of(text):
        if block.reason is None:
            first = block.start - 1
            script[first : first + len(block.lines)] = block.lines
    return "\n".join(script)


def name_of(document):
    return document.relative_to(ROOT).as_posix()


NOT_RUN = [
    (f"{name_of(document)}:{block.start}", block.reason)
    for document in DOCUMENTS
    for block in blocks_of(document.read_text("utf-8"))
    if block.reason is not None
]


@pytest.mark.slow
def test_code_blocks_run(tmp_path):
    scripts = []
    for document in DOCUMENTS:
        text = as_script(document.read_text("utf-8"))
        if text.strip():
            folder = tmp_path / document.stem
            folder.mkdir()
            scripts.append(folder / f"{document.stem}.py")
            scripts[-1].write_text(text, "utf-8")
    assert len(scripts) > 5
    failed = errors_of(scripts)
    assert not failed, "\n".join(f"{name}:\n{text}" for name, text in failed.items())


if NOT_RUN:  # pytest counts an empty list as one more skipped test

    @pytest.mark.parametrize(("place", "reason"), NOT_RUN)
    def test_code_blocks_that_do_not_run_are_counted(place, reason):
        pytest.skip(f"{place} does not run: {reason}")


def test_the_readme_has_a_block_that_runs():
    assert as_script((ROOT / "README.md").read_text("utf-8")).strip()


def test_only_the_marked_block_is_left_out_and_line_numbers_stay():
    text = "a\n```python\nx = 1\n```\n<!-- no-run: slow -->\n```python\ny = 1\n```\n"
    assert as_script(text).split("\n")[2] == "x = 1"
    assert "y" not in as_script(text)
    assert [block.reason for block in blocks_of(text)] == [None, "slow"]
