"""What seeds that were added did: the first alone, and the added alone."""

from collections.abc import Sequence
from pathlib import Path

from evidence import paired
from evidence.claims import FIRST
from evidence.figures import interval, number
from evidence.results import Results
from evidence.verdicts import FEWEST, Verdict, judge


def section(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Of every claim that has more than the first seeds; nothing where none has."""
    claims = [verdict.claim for verdict in verdicts]
    before = judge(results.of(range(FIRST)), claims)
    rows = [
        _row(results, after, first)
        for after, first in zip(verdicts, before, strict=True)
        if after.claim.seeds > FIRST
    ]
    if not rows:
        return ""
    text = _TEXT.format(first=FIRST, last=FIRST - 1)
    head = f"| | {' | '.join(HEAD)} |\n|{' --- |' * (len(HEAD) + 1)}"
    return "\n".join([text, head, *rows])


# What the section says before its table; long lines, as in docs/.
_TEXT = (Path(__file__).parent / "added.md").read_text("utf-8")
HEAD = (
    "seeds",
    "verdict of the first",
    "verdict of all",
    "detectable, first",
    "detectable, all",
    "mean [95 %], first",
    "mean [95 %], added alone",
)


def _row(results: Results, verdict: Verdict, before: Verdict) -> str:
    claim = verdict.claim
    new = [part.values(results.of(range(FIRST, claim.seeds))) for part in claim.parts]
    total = min(len(found.values) for found in verdict.found)
    cells = [
        str(verdict.number),
        f"{FIRST} + {total - FIRST}",
        before.word,
        f"**{verdict.word}**",
        "<br>".join(number(found.smallest) for found in before.found),
        "<br>".join(number(found.smallest) for found in verdict.found),
        "<br>".join(interval(found.difference) for found in before.found),
        "<br>".join(
            interval(paired.compare(each)) if len(each) >= FEWEST else "-"
            for each in new
        ),
    ]
    return f"| {' | '.join(cells)} |"
