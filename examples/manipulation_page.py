"""Writes docs/manipulation.md and its picture from stored runs.

    KERAS_BACKEND=jax python examples/manipulation_page.py [--check]

`--check` writes nothing, and fails if the page is not what the runs in
docs/data/manipulation give.
"""

import argparse
import sys
from pathlib import Path

from manipulation import outcomes, page, pictures
from manipulation.networks import networks

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    given = parser.parse_args()
    found = outcomes.read(networks())
    text = page.page(found, page.chosen_in())
    path = DOCS / "manipulation.md"
    if given.check:
        if path.exists() and path.read_text("utf-8") == text:
            return 0
        print(f"{path.name} is not what the stored runs give: run this again.")
        return 1
    path.write_text(text, "utf-8")
    picture = pictures.dose_and_response(found)
    picture.savefig(DOCS / "images" / "manipulation.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
