"""Writes docs/manipulation.md, with what it shows, and a table of the guide.

    KERAS_BACKEND=jax python studies/manipulation_page.py [--check]

`--check` writes nothing, and fails if a page or the table in docs/choosing.md is not
what the runs in docs/data/manipulation give.
"""

import argparse
import sys
from pathlib import Path

from evidence import written
from manipulation import outcomes, page, pictures
from manipulation.networks import networks

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN = "<!-- methods: written by studies/manipulation_page.py -->"
END = "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args()
    found = outcomes.read(networks())
    guide = DOCS / "choosing.md"
    texts = {
        DOCS / "manipulation.md": page.page(found, page.chosen_in()),
        DOCS / "manipulation-networks.md": page.networks_page(found),
        guide: written.between(
            guide.read_text("utf-8"), page.overview(found), BEGIN, END
        ),
    }
    if given.check:
        return written.differ(texts)
    written.write(texts)
    picture = pictures.dose_and_response(found)
    picture.savefig(DOCS / "images" / "manipulation.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
