"""The page of a report: what it may load, and that data are text everywhere in it."""

import base64
import hashlib
import itertools
import json
import re
import warnings

import numpy as np
import pytest

import keras_mono as km
from keras_mono._internal.table import Table
from keras_mono.analysis.page.rendering import TEMPLATES
from support.hostile import HOSTILE, SHOWN, hostile_report
from support.report_page import ReportPage
from support.small import labelled_data, one_layer

pytestmark = pytest.mark.one_backend

A = km.analysis


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Glyph")
        path = hostile_report(tmp_path_factory.mktemp("page"))
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    z, labels = labelled_data()
    folder = tmp_path_factory.mktemp("page")
    models = {"plain": one_layer(), "": one_layer(2)}
    A.report(models, z, labels, ["units"], folder / "a.html", verbose=0)
    return (folder / "a.html").read_text("utf-8")


def test_hostile_texts_are_text(hostile):
    page = ReportPage(hostile)
    for text in SHOWN[:2]:
        assert f"The neurons of {text}" in page.text
        assert text in page.text
    for label in SHOWN:
        assert label in page.text
    assert page.inside["h1"] == [SHOWN[0] + SHOWN[4]]
    assert page.inside["title"] == [SHOWN[0] + SHOWN[4]]
    assert page.tags.count("script") == 2
    assert not {"b", "iframe", "object"} & {*page.tags}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x00]", hostile)


def test_hostile_texts_are_whole_in_the_data(hostile):
    data = ReportPage(hostile).data
    assert sorted(data["features"]) == sorted(HOSTILE)
    assert [model["name"] for model in data["models"]] == list(HOSTILE[:2])
    for sample, text in data["samples"]["shown"].items():
        assert text == f"{HOSTILE[int(sample) % len(HOSTILE)]} {sample}"[:4000]


def test_a_table_shows_hostile_texts_in_one_line_each():
    rows = [{"name": text, "number": i} for i, text in enumerate(HOSTILE[:6])]
    rows.append({"name": "a\nb\x1b[31m", "number": None})
    table = Table(["name", "number"], rows, f"of {HOSTILE[4]}")
    title, _, _, *lines = str(table).split("\n")
    assert title == f"of {SHOWN[4]}"
    assert [line.rsplit("  ", 1)[0].rstrip() for line in lines[:6]] == [
        *SHOWN[:5],
        "L" * 59 + "…",
    ]
    assert lines[6] == "a\\nb\\u001b[31m"
    html = ReportPage(table._repr_html_() + '<script>""</script>')
    assert html.inside["td"][::2] == [*SHOWN[:5], "L" * 59 + "…", lines[6]]


def policy_of(page):
    meta = {m.get("http-equiv"): m.get("content") for m in page.attributes["meta"]}
    parts = [part.split() for part in meta["Content-Security-Policy"].split(";")]
    return {name: values for name, *values in parts}


def hash_of(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def test_the_page_may_run_and_load_what_is_in_it_alone(harmless):
    page = ReportPage(harmless)
    policy = policy_of(page)
    assert policy["default-src"] == ["'none'"]
    assert policy["img-src"] == ["data:"]
    assert policy["script-src"] == [hash_of(page.inside["script"][1])]
    assert policy["style-src"] == [hash_of(page.inside["style"][0])]
    assert page.attributes["script"] == [
        {"type": "application/json", "id": "data"},
        {},
    ]
    assert "http" not in harmless.replace('http-equiv="', "")
    every = [a for of_tag in page.attributes.values() for a in of_tag]
    assert not any(
        name.startswith("on") or name == "style" for a in every for name in a
    )
    links = [a["href"] for a in page.attributes["a"]]
    assert all(link.startswith("#") for link in links)
    assert "#plain/units/0" in links


def test_scripts_make_no_markup_of_text():
    for path in TEMPLATES.glob("*.js"):
        text = path.read_text("utf-8")
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ):
            assert way not in text, path.name
        assert "</script" not in text
        assert "<!--" not in text
        assert "{{" not in text


def test_what_a_screen_reader_needs(harmless):
    page = ReportPage(harmless)
    assert page.attributes["html"][0]["lang"] == "en"
    assert len(page.inside["h1"]) == 1
    for landmark in ("header", "main", "nav"):
        assert landmark in page.tags
    assert all(nav["aria-label"] for nav in page.attributes["nav"])
    assert all(head["scope"] in ("col", "row") for head in page.attributes["th"])
    assert all(picture["alt"] for picture in page.attributes["img"])
    assert page.tags.count("table") == page.tags.count("thead")
    numbers = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert max(steps) <= 1  # no level is left out


def test_an_empty_name_is_shown_in_quotes(harmless):
    page = ReportPage(harmless)
    assert page.inside["h2"][-1] == 'The neurons of ""'
    assert '; "": 12 weights.' in page.text
    cells = page.inside["th"] + page.inside["td"]
    assert cells.count('""') == 1 + 8  # of `compare`, and of each measure


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(scheme):
    """Level AA: 4.5 for text, 3 for what is drawn."""
    style = (TEMPLATES / "page.css").read_text("utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w{6});", block))
    assert len(colours) == 11
    for ground in ("ground", "surface"):
        for text in ("text", "quiet", "link", "mark", "dead"):
            found = contrast(colours[text], colours[ground])
            assert found >= 4.5, (text, ground, found)
        assert contrast(colours["strong"], colours[ground]) >= 3
    assert contrast(colours["text"], colours["marked"]) >= 4.5


def test_bytes_that_are_no_text(tmp_path):
    z, labels = labelled_data()
    labels = np.where(labels == "fr", "br\udcffken", labels)
    page, file = tmp_path / "a.html", tmp_path / "a.json"
    A.report(one_layer(), z, labels, ["units"], page, json=file, verbose=0)
    assert "br\\udcffken" in json.loads(file.read_text("utf-8"))["features"]
    assert "br\\udcffken" in ReportPage(page.read_text("utf-8")).data["features"]
