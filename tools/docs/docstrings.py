"""How mkdocstrings reads what is special to this project's docstrings."""

import re
from typing import Any

import griffe

PLAIN_EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)

PAGE = re.compile(r"\bdocs/([a-z-]+)\.md")


class Docstrings(griffe.Extension):
    """Call arguments become a table, names of pages links, and examples code."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """`Call arguments:` as Griffe knows it, links to pages, fences around examples."""
    text = text.replace("\nCall arguments:", "\nOther Parameters: Call arguments")
    text = PAGE.sub(r"[\1](../../\1.md)", text)
    return PLAIN_EXAMPLE.sub(_fenced, text)


def _fenced(match: re.Match[str]) -> str:
    return f"```pycon\n{match[0]}\n```"
