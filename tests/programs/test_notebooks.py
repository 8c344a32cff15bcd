"""The notebooks run, and what is stored in them is what they give."""

import nbformat
import pytest

from support.notebooks import NOTEBOOKS, executed, outline


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_is_stored_in_it(path, tmp_path):
    stored = nbformat.read(path, as_version=4)
    found = executed(path, tmp_path)
    assert outline(found) == outline(stored)
    assert any(outline(stored))


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["analysis", "keras-hub", "start"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_its_pictures_have_texts(path):
    assert path.stat().st_size < 250_000
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 20
