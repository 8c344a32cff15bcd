"""Colours and marks that stay apart in grey and for colour-blind readers; names."""

from functools import lru_cache
from typing import Any

from keras_mono._internal.optional_imports import require
from keras_mono._internal.visible_text import name_of

# Okabe and Ito's palette, ordered by lightness contrast.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")


def look(index: int) -> dict[str, str]:
    """Colour, marker and line of the index-th series."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def from_zero(axes: Any) -> None:
    """The vertical axis from 0 on, with room for a mark above the highest value.

    matplotlib's own margin is a share of what the values span, not of the axis.
    """
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.05 * axes.dataLim.y1))


def plain(text: Any, most: int = 24) -> str:
    """A name as it is written: no mathematics, no name that matplotlib hides, short.

    Characters of which the font has no picture are shown as escapes.
    """
    families = require("matplotlib").rcParams["font.family"]
    pictures = _pictures(*([families] if isinstance(families, str) else families))
    shown = "".join(
        c if ord(c) in pictures else c.encode("unicode_escape").decode()
        for c in name_of(text, 2 * most)
    )
    shown = name_of(shown, most).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


@lru_cache
def _pictures(*families: str) -> frozenset[int]:
    """The characters, as numbers, that are in a font of these families."""
    manager = require("matplotlib.font_manager")
    wanted = (manager.FontProperties(family=[family]) for family in families)
    found = {manager.findfont(one) for one in wanted}
    return frozenset(c for font in found for c in manager.get_font(font).get_charmap())
