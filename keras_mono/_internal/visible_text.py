"""Texts as they can be written and seen."""

import re
from typing import Any

# Characters without a picture, and those that turn the direction of what follows.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u2069\ufeff]"
)


def as_text(value: Any) -> str:
    """A value as text that UTF-8 can hold: other bytes are shown as escapes."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def name_of(value: Any, most: int | None = None) -> str:
    """A name in one line, cut off after `most`, in quotes if an end is blank."""
    text = str(visible(str(value))).replace("\n", "\\n").replace("\t", "\\t")
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    return text if text and text == text.strip() else f'"{text}"'


def visible(value: Any) -> Any:
    """A text whose hidden characters are shown as escapes; other values unchanged."""
    if type(value) is not str:
        return value
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", as_text(value))
