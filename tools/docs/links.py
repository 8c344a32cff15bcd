"""Links between the files of the project, as they read in the site."""

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from notebook_pages import fenced

ROOT = Path(__file__).resolve().parents[2]
# The target of `[text](target)` and `![text](target)`.
TARGET = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
LANGUAGES = {".py": "python", ".cff": "yaml", ".toml": "toml", ".md": "markdown"}
NOT_SEARCHED = "---\nsearch: {exclude: true}\n---\n"
ELSEWHERE = re.compile(r"[a-z]+:|#|/")


def replaced(text: str, change: Callable[[str], str]) -> str:
    """The text with each link's target changed, those in code left as they are."""
    lines = []
    fence = ""
    for line in text.split("\n"):
        mark = line.lstrip()
        if fence:
            fence = "" if mark.startswith(fence) else fence
        elif begun := re.match("`{3,}", mark):
            fence = begun[0]
        else:
            line = TARGET.sub(lambda match: change(match[1]), line)
        lines.append(line)
    return "\n".join(lines)


def targets(text: str, origin: str) -> Iterator[str]:
    """What the text of the file `origin` links to, as paths in the project."""
    found: list[str] = []

    def keep(target: str) -> str:
        if not ELSEWHERE.match(target):
            found.append(in_project(target, origin))
        return target

    replaced(text, keep)
    yield from found


def in_project(target: str, origin: str) -> str:
    path = target.partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))


def in_site(text: str, origin: str, page: str, pages: dict[str, str]) -> str:
    """The text with links that hold in the site.

    Args:
        text: Of the file `origin`, a path in the project.
        origin: What relative links start from.
        page: Where it stands in the site.
        pages: Where other files of the project stand there.
    """

    def change(target: str) -> str:
        if ELSEWHERE.match(target):
            return target
        path = in_project(target, origin)
        there = pages.get(path)
        if there is None:
            return target  # mkdocs reports it
        path = posixpath.relpath(there, posixpath.dirname(page) or ".")
        return path + "".join(target.partition("#")[1:])

    return replaced(text, change)


def listing(path: str) -> tuple[str, list[str]]:
    """A page for a file or folder that is no page itself, and what it links to."""
    place = ROOT / path
    if place.is_dir():
        names = sorted(
            f"{path}/{child.name}"
            for child in place.iterdir()
            if child.is_file() and not child.name.startswith(".")
        )
        rows = "\n".join(f"- [{name.rpartition('/')[2]}]({name})" for name in names)
        return f"{NOT_SEARCHED}# {path}\n\n{rows}\n", names
    language = LANGUAGES.get(place.suffix, "text")
    code = fenced(place.read_text("utf-8"), language)
    return f"{NOT_SEARCHED}# {path}\n\n{code}\n", []
