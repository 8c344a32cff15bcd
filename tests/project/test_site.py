"""The site has a page for every public name; `make docs` checks what was built."""

import importlib
import pkgutil
import sys
import types
from pathlib import Path

import pytest

import keras_mono

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "docs"
sys.path.insert(0, str(TOOLS))

import api_pages  # noqa: E402
import public_names  # noqa: E402
import sentences  # noqa: E402

MODULES = ["keras_mono"] + [
    found.name
    for found in pkgutil.walk_packages(keras_mono.__path__, "keras_mono.")
    if found.ispkg and public_names.is_public(found.name)
]
PAGES = api_pages.pages()


def public_in(module):
    """What the module offers under a public name and is no module, seen at run time."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def test_the_public_modules_are_those_that_can_be_imported():
    assert list(public_names.public_modules()) == sorted(MODULES)


@pytest.mark.parametrize("name", [m for m in MODULES if m != "keras_mono.torch"])
def test_every_public_name_has_a_page(name):
    pages = dict(api_pages.names_of_pages())
    missing = [
        found
        for found in sorted(public_in(importlib.import_module(name)))
        if pages.get(f"{name}.{found}") not in PAGES
    ]
    assert missing == []


def test_no_two_pages_differ_in_case_only():
    assert len({name.lower() for name in PAGES}) == len(PAGES)


def test_every_name_has_a_summary():
    for names in public_names.public_modules().values():
        for public in names:
            assert api_pages.summary(public.origin), public.path


@pytest.mark.parametrize("path", sentences.guides(), ids=lambda path: path.name)
def test_a_guide_has_one_sentence_a_line_and_at_most_300_lines(path):
    text = path.read_text("utf-8")
    # `python tools/docs/sentences.py` writes it anew.
    assert sentences.reflowed(text) == text
    assert text.count("\n") <= 300


def test_what_is_one_sentence():
    text = "See `a. B`, Fig. 6 (Alg. 2. Both) and e.g. This. **That.** Then 3.\nEnd."
    assert sentences.reflowed(text + "\n\n- A. B\n  c.\n") == (
        "See `a. B`, Fig. 6 (Alg. 2. Both) and e.g. This.\n**That.**\nThen 3.\nEnd.\n\n"
        "- A.\n  B c.\n"
    )
