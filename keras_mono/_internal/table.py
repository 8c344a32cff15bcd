"""Tables for people and programs."""

import html
from collections.abc import Sequence
from typing import Any

from keras_mono._internal import optional_imports
from keras_mono._internal.visible_text import name_of

_MOST = 60  # characters of a cell that are shown


class Table(Sequence[dict[str, Any]]):
    """A sequence of rows, each a dict with the same keys.

    `print(table)` shows it aligned, a notebook as HTML, and `to_frame()` gives a pandas
    DataFrame (needs the extra `analysis`). None is an empty cell. Long texts are cut
    off where they are shown, and characters that would hide or move others are escapes.

    Args:
        columns: Keys of every row, in the order to show them.
        rows: One dict per row.
        title: Line above the table.
    """

    def __init__(
        self, columns: Sequence[str], rows: Sequence[dict[str, Any]], title: str = ""
    ) -> None:
        self.columns = list(columns)
        self.title = title
        self._rows = [{c: row[c] for c in self.columns} for row in rows]

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def to_frame(self) -> Any:
        """The rows as a `pandas.DataFrame`."""
        return optional_imports.require("pandas").DataFrame(
            self._rows, columns=self.columns
        )

    def cells(self, most: int | None = None) -> list[list[str]]:
        """The rows as texts in one line, of at most so many characters."""
        return [[_text(value, most) for value in row.values()] for row in self._rows]

    def __str__(self) -> str:
        cells = [self.columns, *self.cells(_MOST)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [self._is_numeric(c) for c in self.columns]
        lines = []
        for row in cells:
            parts = [
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(row, widths, numeric, strict=True)
            ]
            lines.append("  ".join(parts).rstrip())
        rule = "  ".join("-" * width for width in widths)
        head = [name_of(self.title, 2 * _MOST)] if self.title else []
        return "\n".join([*head, lines[0], rule, *lines[1:]])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            inner = "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row(cells, "td") for cells in self.cells(_MOST))
        title = html.escape(name_of(self.title, 2 * _MOST)) if self.title else ""
        caption = f"<caption>{title}</caption>" if title else ""
        return f"<table>{caption}{row(self.columns, 'th')}{body}</table>"

    def _is_numeric(self, column: str) -> bool:
        values = [r[column] for r in self._rows if r[column] is not None]
        return bool(values) and all(
            isinstance(v, int | float) and not isinstance(v, bool) for v in values
        )


def _text(value: Any, most: int | None = None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return name_of(value, most)
