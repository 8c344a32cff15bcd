"""The files of the project hold nothing that belongs to one machine, and no loose ends.

Words are put together here from parts, so that this file does not hold them itself.
"""

import fnmatch
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ".." + "/shared"
FORBIDDEN = [
    "/" + "work/",
    "/" + "root/",
    "/" + "home/",
    "TO" + "DO",
    "FIX" + "ME",
    "XX" + "X",
    "--index" + "-url",
    "--find" + "-links",
    "pypi" + ".org/simple",
    "download." + "pytorch",
    SHARED,
]


# In a notebook, in letters that may form any word.
PICTURE = re.compile(r'"image/png": "[^"]*"')
IGNORED = [".git", *(ROOT / ".gitignore").read_text().splitlines()]


def ignored(name, at_the_top):
    """Whether .gitignore names a file or folder; `/name` counts at the top only."""
    return any(
        fnmatch.fnmatch(name, pattern.strip("/"))
        for pattern in IGNORED
        if at_the_top or not pattern.startswith("/")
    )


def text_files():
    """Every text file that is or could be tracked, and its text."""
    for folder, folders, names in os.walk(ROOT):
        top = Path(folder) == ROOT
        folders[:] = [name for name in folders if not ignored(name, top)]
        for name in names:
            path = Path(folder, name)
            if ignored(name, top):
                continue
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
            if path.suffix == ".ipynb":
                text = PICTURE.sub("", text)
            yield path.relative_to(ROOT).as_posix(), text


FILES = dict(text_files())


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_holds(word):
    # Tests may look for optional data beside the checkout, and skip without them.
    allowed = "tests/" if word == SHARED else None
    holding = [
        f"{name}:{number}"
        for name, text in FILES.items()
        if word in text and not (allowed and name.startswith(allowed))
        for number, line in enumerate(text.split("\n"), 1)
        if word in line
    ]
    assert holding == []


def test_the_files_were_found():
    assert {"README.md", "Makefile", ".ci/run", "keras_mono/__init__.py"} <= set(FILES)
    assert not any(name.startswith(".envs/") for name in FILES)


def test_the_package_uses_nothing_of_keras_that_is_private():
    found = [
        f"{name}: {line}"
        for name, text in FILES.items()
        if name.startswith("keras_mono/")
        for line in text.split("\n")
        if "keras.src" in line
    ]
    assert found == []
