"""Writes docs/results.md, its pictures and the README's paragraph from stored runs.

    KERAS_BACKEND=jax python studies/results.py [--check]

`--check` writes nothing, and fails if the page or the paragraph is not what the runs
in docs/data/evidence give.
"""

import argparse
import sys
from pathlib import Path

from evidence import page, pictures, written
from evidence.all_results import read
from evidence.store import STORED
from evidence.summary import summary
from evidence.verdicts import judge

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results: written by studies/results.py -->", "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args()
    results = read(STORED)
    verdicts = judge(results)
    readme = ROOT / "README.md"
    texts = {
        ROOT / "docs" / "results.md": page.page(results, verdicts),
        readme: written.between(
            readme.read_text("utf-8"), summary(verdicts, "docs/"), BEGIN, END
        ),
    }
    if given.check:
        return written.differ(texts)
    written.write(texts)
    figures = {
        "results-claims": pictures.claims(verdicts),
        "results-doses": pictures.doses(results),
    }
    if "results-features" in texts[ROOT / "docs" / "results.md"]:
        figures["results-features"] = pictures.features(results)
    for name, figure in figures.items():
        figure.savefig(ROOT / "docs" / "images" / f"{name}.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
