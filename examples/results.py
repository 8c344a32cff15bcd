"""Writes docs/results.md, its pictures and the README's paragraph from stored runs.

    KERAS_BACKEND=jax python examples/results.py [--check]

`--check` writes nothing, and fails if the page or the paragraph is not what the runs
in docs/data/evidence give.
"""

import argparse
import sys
from pathlib import Path

from evidence import page, pictures
from evidence.all_results import read
from evidence.claims import judge
from evidence.store import STORED

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: written by examples/results.py -->", "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args()
    results = read(STORED)
    verdicts = judge(results)
    readme = ROOT / "README.md"
    texts = {
        ROOT / "docs" / "results.md": page.page(results, verdicts),
        readme: with_paragraph(readme.read_text("utf-8"), page.summary(verdicts)),
    }
    if given.check:
        wrong = [p for p, text in texts.items() if p.read_text("utf-8") != text]
        for path in wrong:
            print(f"{path.name} is not what the stored runs give: run this again.")
        return 1 if wrong else 0
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    for name, figure in {
        "results-claims": pictures.claims(verdicts),
        "results-features": pictures.features(results),
    }.items():
        figure.savefig(ROOT / "docs" / "images" / f"{name}.png", dpi=110)
    return 0


def with_paragraph(readme: str, paragraph: str) -> str:
    """The README with the paragraph between its two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{paragraph}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
