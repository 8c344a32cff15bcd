"""Every ```python block of the README and of docs/ runs.

The blocks of a file run in order, in one fresh process. A block does not run if the
line before it says so: `<!-- no-run: reason -->`. It is then listed as skipped.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import pytest

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


WITH_RUNNING_BLOCKS = [
    pytest.param(document, id=name_of(document))
    for document in DOCUMENTS
    if as_script(document.read_text("utf-8")).strip()
]
NOT_RUN = [
    (f"{name_of(document)}:{block.start}", block.reason)
    for document in DOCUMENTS
    for block in blocks_of(document.read_text("utf-8"))
    if block.reason is not None
]


# Whose blocks import their backend; `make test` runs them all on JAX.
OF_ONE_BACKEND = {"docs/native-jax.md": "jax"}


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_RUNNING_BLOCKS)
def test_code_blocks_run(document, tmp_path):
    backend = keras.config.backend()
    if OF_ONE_BACKEND.get(name_of(document), backend) != backend:
        pytest.skip("the page is about another backend")
    script = tmp_path / document.with_suffix(".py").name
    script.write_text(as_script(document.read_text("utf-8")), "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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
