"""docs/results.md: written from the stored runs, nothing of it by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence import added, details
from evidence.figures import interval, number, p_value
from evidence.results import Results
from evidence.summary import margins, summary
from evidence.verdicts import LEVEL, NONE, OPEN, OPPOSITE, YES, Found, Verdict

SCRIPT = "KERAS_BACKEND=jax python studies/study.py"


def page(results: Results, verdicts: Sequence[Verdict]) -> str:
    """The whole page."""
    parts = [
        "# Results: does less monosemanticity help, harm, or neither?",
        summary(verdicts),
        "![Each claim's effect with its interval, in units of the margin within which "
        "it counts as none](images/results-claims.png)",
        "## The claims",
        _claims(verdicts),
        _commands(verdicts),
        added.section(results, verdicts),
        _READING,
        _made_of(results),
        *details.sections(results),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _claims(verdicts: Sequence[Verdict]) -> str:
    lines = [
        "| | question and claim | predicted | the paper | here, mean [95 %], n | "
        "corrected p: for / against / none | smallest detectable | verdict |",
        f"|{' --- |' * 8}",
    ]
    question = ""
    for verdict in verdicts:
        claim = verdict.claim
        asked = "" if claim.question == question else f"*{claim.question}* "
        question = claim.question
        cells = [
            str(verdict.number),
            f"{asked}{claim.title} ({claim.source})",
            claim.predicted,
            claim.theirs,
            "<br>".join(_effect(found) for found in verdict.found),
            " / ".join(
                p_value(p)
                for p in (verdict.supports, verdict.contradicts, verdict.equivalent)
            ),
            "<br>".join(_smallest(found) for found in verdict.found),
            _word(verdict),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _effect(found: Found) -> str:
    d = found.difference
    unit = f" {found.part.unit}" if found.part.unit else ""
    return f"{found.part.text}: {interval(d)}{unit}, {d.number}"


def _smallest(found: Found) -> str:
    unit = f" {found.part.unit}" if found.part.unit else ""
    theirs = {
        None: "",
        True: " (the paper's: yes)",
        False: " (**above the paper's**)",
    }[found.sees_theirs]
    return f"{number(found.smallest)}{unit}{theirs}"


def _word(verdict: Verdict) -> str:
    """The verdict; of no effect, within what."""
    within = f" within {margins(verdict)}"
    planted = {
        "yes": " (planted: yes)",
        "no": " (planted: no)",
        "": "",
    }[verdict.claim.planted]
    return f"**{verdict.word}**{within if verdict.word == NONE else ''}{planted}"


def _commands(verdicts: Sequence[Verdict]) -> str:
    """One a claim, with what new seeds are expected to give."""
    lines = [
        "Each claim again, by one command; it can be interrupted and goes on. *New "
        "seeds*: the 95 % prediction interval of the mean of 12 new ones (`--seeds "
        "200-211`).",
        "| | command | new seeds |\n| --- | --- | --- |",
    ]
    for verdict in verdicts:
        new = [
            " to ".join(number(v, True) for v in found.difference.prediction(12))
            for found in verdict.found
        ]
        lines[-1] += (
            f"\n| {verdict.number} | `{SCRIPT} --claim {verdict.number}` | "
            f"{'; '.join(new)} |"
        )
    return "\n\n".join(lines)


# How to read the page; long lines, as in docs/.
_READING = (
    (Path(__file__).parent / "reading.md")
    .read_text("utf-8")
    .format(level=100 * LEVEL, yes=YES, opposite=OPPOSITE, none=NONE, open=OPEN)
)


def _made_of(results: Results) -> str:
    """How much was run, on what."""
    runs = [run for _, _, every in results.found.values() for run in every]
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in run["versions"].items():
            versions.setdefault(package, set()).add(version)
    shown = ", ".join(f"{p} {'/'.join(sorted(v))}" for p, v in sorted(versions.items()))
    hours = sum(run["seconds"] for run in runs) / 3600
    return (
        f"This page is written by `python studies/results.py` from {len(runs)} stored "
        "runs of `studies/study.py` ([here](data/evidence)) and of "
        "`studies/manipulation_study.py` ([here](data/manipulation)): "
        f"{hours:.1f} hours in all, each run on one of two busy cores. No accelerator "
        "was used, and the large causal models of `--large` are not among them. "
        f"Backend: {_different(runs, 'backend')}. Versions: {shown}, Python "
        f"{_different(runs, 'python')}. Machines: {_different(runs, 'machine')}."
    )


def _different(runs: list[dict[str, Any]], what: str) -> str:
    return "; ".join(sorted({run[what] for run in runs}))
