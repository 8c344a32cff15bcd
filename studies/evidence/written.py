"""Pages that stored runs write: written, or only compared."""

from collections.abc import Mapping
from pathlib import Path


def differ(texts: Mapping[Path, str]) -> int:
    """Name the files that are not what the runs give; 1 if there are any."""
    wrong = [p for p, text in texts.items() if p.read_text("utf-8") != text]
    for path in wrong:
        print(f"{path.name} is not what the stored runs give: run this again.")
    return 1 if wrong else 0


def write(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        path.write_text(text, "utf-8")


def between(whole: str, part: str, begin: str, end: str) -> str:
    """The text with a part of it, between two marks, replaced."""
    before, _, rest = whole.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{part}\n{end}{after}"
