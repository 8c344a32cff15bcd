"""Colours and marks that stay apart in grey and for colour-blind readers; names."""

from typing import Any

from keras_mono._internal.visible_text import visible

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


def plain(text: Any, most: int = 24) -> str:
    """A name as it is written: no mathematics, no name that matplotlib hides, short."""
    shown = visible(str(text))
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
