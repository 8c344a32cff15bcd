"""What is written about the version in several places is the same everywhere."""

import importlib.metadata
import re
from pathlib import Path

import keras_mono as km

ROOT = Path(__file__).resolve().parents[2]


def text_of(name):
    return (ROOT / name).read_text("utf-8")


def test_the_installed_package_has_the_version_of_the_checkout():
    assert f'__version__ = "{km.__version__}"' in text_of("keras_mono/_version.py")
    assert importlib.metadata.version("keras-mono") == km.__version__


def test_the_citation_names_the_version():
    assert re.findall(r"^version: (.+)$", text_of("CITATION.cff"), re.M) == [
        km.__version__
    ]


def test_the_changelog_begins_with_the_version():
    headings = re.findall(r"^## \[(.+)\] - (.+)$", text_of("CHANGELOG.md"), re.M)
    version, date = headings[0]
    assert version == km.__version__
    assert date == "unreleased" or re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)


def test_the_citation_has_a_release_date_once_released():
    released = "- unreleased" not in text_of("CHANGELOG.md").split("\n## ")[1]
    assert ("\ndate-released: " in text_of("CITATION.cff")) == released


def test_the_papers_are_cited():
    citation = text_of("CITATION.cff")
    for number in ("2312.11560", "2503.23298", "2406.17969", "2305.01610"):
        assert f"10.48550/arXiv.{number}" in citation


def test_the_licence_is_apache_2():
    assert "Version 2.0, January 2004" in text_of("LICENSE")
    assert importlib.metadata.metadata("keras-mono")["License-Expression"] == (
        "Apache-2.0"
    )
