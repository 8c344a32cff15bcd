"""Writes docs/manipulation.md, its picture and a table of the guide from stored runs.

    KERAS_BACKEND=jax python examples/manipulation_page.py [--check]

`--check` writes nothing, and fails if the page or the table in docs/choosing.md is not
what the runs in docs/data/manipulation give.
"""

import argparse
import sys
from pathlib import Path

from manipulation import outcomes, page, pictures
from manipulation.networks import networks

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN = "<!-- methods: written by examples/manipulation_page.py -->"
END = "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args()
    found = outcomes.read(networks())
    guide = DOCS / "choosing.md"
    texts = {
        DOCS / "manipulation.md": page.page(found, page.chosen_in()),
        guide: with_table(guide.read_text("utf-8"), page.overview(found)),
    }
    if given.check:
        wrong = [p for p, text in texts.items() if p.read_text("utf-8") != text]
        for path in wrong:
            print(f"{path.name} is not what the stored runs give: run this again.")
        return 1 if wrong else 0
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    picture = pictures.dose_and_response(found)
    picture.savefig(DOCS / "images" / "manipulation.png", dpi=110)
    return 0


def with_table(guide: str, table: str) -> str:
    """The guide with the table between its two marks."""
    before, _, rest = guide.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
