"""The report in a real browser: what it shows, keys, and hostile texts."""

from urllib.parse import quote

import keras
import numpy as np
import pytest

import keras_mono as km
from support import planted
from support.browser import BROWSER, seen
from support.hostile import HOSTILE, SHOWN, hostile_report
from support.small import labelled_data, one_layer

pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    z, labels = planted.activations()
    images = np.zeros((len(z), 8, 8, 1), "float32")
    images.reshape(len(z), -1)[:, : z.shape[1]] = z
    models = {}
    for name, units in {"small": 4, "large": 30}.items():
        keras.utils.set_random_seed(0)
        layers = [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(units, name="units"),
        ]
        models[name] = keras.Sequential(layers)
    path = tmp_path_factory.mktemp("page") / "page.html"
    layers = ["conv", "units"]
    return km.analysis.report(models, images, labels, layers, path, verbose=0)


FITS = """
  const found = [];
  for (const hash of ["", "#neurons", "#small/conv/1", "#comparison"]) {
    await go(hash);
    const root = inside.documentElement;
    const pictures = all("img").filter(isShown);
    found.push({
      content: root.scrollWidth,
      window: root.clientWidth,
      pictures: pictures.length,
      loaded: pictures.filter((x) => x.complete && x.naturalWidth > 0).length,
      right: Math.max(0, ...pictures.map((x) => x.getBoundingClientRect().right)),
    });
  }
  return found;"""


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_and_shows_every_picture(page, width, tmp_path):
    views = seen(tmp_path, page, FITS, width=width)
    in_overview = page.read_text("utf-8").count("<img ")
    assert [view["pictures"] for view in views] == [in_overview, 0, 6, 0]
    for view in views:
        assert view["window"] <= width
        assert view["content"] <= view["window"]  # nothing to scroll sideways
        assert view["right"] <= view["window"]
        assert view["loaded"] == view["pictures"]


TABLE = """
  const figures = () => column("#view-neurons", 3);
  const names = () => texts("#view-neurons tbody th");
  const heads = () => all("#view-neurons thead th")
    .map((x) => x.getAttribute("aria-sort")).filter((x) => x !== "none");
  const hits = () => one("#hits").textContent;
  const [search] = all("#view-neurons input");
  const [model, layer, feature, state] = all("#view-neurons select");
  const found = { start: [hits(), figures(), heads()] };
  one('#view-neurons th[data-key="best_phi"] button').click();
  found.rising = [figures(), heads()];
  one('#view-neurons th[data-key="neuron"] button').click();
  found.byName = [names().slice(0, 4), heads()];
  await set(search, "conv 2");
  found.search = [hits(), names()];
  await set(search, "perl");
  found.byFeature = texts("#view-neurons tbody tr td:nth-child(3)");
  await set(search, "");
  await set(layer, "units");
  await set(model, "0");
  found.filtered = [hits(), names()];
  await set(state, "dead");
  found.dead = [hits(), names()];
  return found;"""


def test_the_table_is_sorted_searched_and_filtered(page, tmp_path):
    found = seen(tmp_path, page, TABLE, "#neurons")
    hits, figures, heads = found["start"]
    assert hits == "40 neurons"
    phi = [float(text) for text in figures]
    assert phi == sorted(phi, reverse=True)
    assert heads == ["descending"]
    assert [float(text) for text in found["rising"][0]] == sorted(phi)
    assert found["rising"][1] == ["ascending"]
    assert found["byName"] == [["conv/0", "conv/1", "conv/2", "units/0"], ["ascending"]]
    assert found["search"] == ["2 of 40 neurons", ["conv/2", "conv/2"]]
    assert set(found["byFeature"]) == {"perl"}
    assert found["filtered"] == ["4 of 40 neurons", [f"units/{i}" for i in range(4)]]
    assert found["dead"] == ["0 of 40 neurons", []]


NEURON = """
  const found = {
    title: inside.title,
    head: one("#view-neuron h2").textContent,
    summary: one(".summary").textContent,
    alt: all("#view-neuron img").map((x) => x.alt),
    cells: all("#view-neuron .cell").length,
    features: column("#view-neuron .response", 1),
    ranks: column("#view-neuron section:last-child", 2),
  };
  await go("#small/nowhere/1");
  found.unknown = one("#view-neuron").textContent;
  return found;"""


def test_the_view_of_a_neuron(page, tmp_path):
    found = seen(tmp_path, page, NEURON, "#small/conv/1")
    assert found["title"].startswith("small: neuron 1 of conv – ")
    assert found["head"] == "small: neuron 1 of conv"
    assert found["summary"].startswith("alive Own feature ")
    assert len(found["alt"]) == found["cells"] == 6
    assert all(alt.startswith("Input ") for alt in found["alt"])
    phi = [float(text) for text in found["features"]]
    assert len(phi) == 4
    assert phi == sorted(phi, reverse=True)
    assert all(rank in ("1 of 3", "2 of 3", "3 of 3") for rank in found["ranks"])
    assert "has no neuron small/nowhere/1" in found["unknown"]


KEYS = """
  const focused = () => inside.activeElement.textContent;
  const order = texts("#view-neurons tbody th");
  one("#view-neurons tbody a").focus();
  await press("ArrowDown");
  await press("ArrowDown");
  const found = { order, down: focused() };
  await press("End");
  found.end = focused();
  await press("Home");
  found.home = focused();
  await go(one("#view-neurons tbody a").getAttribute("href"));
  found.opened = focused();
  await press("ArrowRight");
  found.next = focused();
  await press("ArrowLeft");
  found.back = focused();
  await press("Escape");
  found.hash = page.location.hash;
  found.returned = focused();
  return found;"""


def test_keys_move_between_rows_and_neurons(tmp_path):
    z, labels = labelled_data()
    path = tmp_path / "a.html"
    km.analysis.report(one_layer(130), z, labels, ["units"], path, verbose=0)
    found = seen(tmp_path, path, KEYS, "#neurons")
    order = found["order"]
    assert len(order) == 100  # the others are drawn when they are asked for
    assert found["down"] == order[2]
    assert found["end"] not in order
    assert found["home"] == order[0]
    number = [name.removeprefix("units/") for name in order]
    assert found["opened"] == f"Neuron {number[0]} of units"
    assert found["next"] == f"Neuron {number[1]} of units"
    assert found["back"] == found["opened"]
    assert found["hash"] == "#neurons"
    assert found["returned"] == order[0]


STATES = """
  const found = [one("#view-neuron").innerText];
  await go("#same/1");
  found.push(one("#view-neuron").innerText);
  await go("#same/2");
  found.push(one("#view-neuron").innerText);
  await go("#neurons");
  for (const state of ["dead", "not finite"]) {
    await set(all("#view-neurons select")[2], state);
    found.push(texts("#view-neurons tbody th"));
  }
  found.push(one("#view-overview").textContent);
  return found;"""


def test_silent_dead_and_not_finite_neurons(tmp_path):
    z, labels = labelled_data()
    z[:, 0] = labels != "fr"
    z[:, 1] = 3.0
    z[:, 2] = np.nan
    same = keras.layers.Identity(name="same")
    model, path = keras.Sequential([keras.Input((5,)), same]), tmp_path / "a.html"
    km.analysis.report(model, z, labels, ["same"], path, verbose=0)
    silent, dead, broken, *listed, text = seen(tmp_path, path, STATES, "#same/0")
    assert "Own feature fr" in silent
    assert "answers by silence" in silent
    assert "dead It gives the same on every input" in dead
    assert "not finite It gives NaN or an infinite number on every input" in broken
    assert listed == [["same/1"], ["same/2"]]
    assert "1 of 5 neurons give nothing finite" in text


COMPARISON = """
  const [model, layer, measure] = all("#view-comparison select");
  const rows = () => all("#view-comparison tbody tr")
    .map((x) => [...x.cells].map((y) => y.textContent));
  const found = { conv: rows(), changes: one("#changes").textContent };
  await set(layer, "1");
  found.units = one("#pairs").textContent;
  return found;"""


def test_two_models_neuron_by_neuron(page, tmp_path):
    found = seen(tmp_path, page, COMPARISON, "#comparison")
    assert sorted(row[0] for row in found["conv"]) == ["0", "1", "2"]
    for _, mine, other, before, after, change, _ in found["conv"]:
        assert mine == other
        assert before == after
        assert change == "0.00"
    assert "of 3 neurons: fell in 0, rose in 0" in found["changes"]
    assert "It has 30 neurons here and 4 in 'small'." in found["units"]


DOWNLOAD = """
  let blob;
  page.URL.createObjectURL = (given) => { blob = given; return "#"; };
  one("#download").click();
  return blob.text();"""


def test_the_download_is_the_data_of_the_page(page, tmp_path):
    found = seen(tmp_path, page, DOWNLOAD)
    assert '"format":"keras_mono report"' in found
    assert found in page.read_text("utf-8")


MARKS = """
  return all("#view-neuron .text")
    .map((x) => [x.textContent, x.querySelector("mark").textContent]);"""


def test_the_position_is_marked_in_a_text(tmp_path):
    texts = [f"{'.' * (i % 7)}ö{'.' * (7 - i % 7)}" for i in range(40)]
    labelled = km.analysis.LabelledTexts(texts, np.arange(40) % 2)
    x = labelled.as_bytes(9)
    second_of_o = "ö".encode()[1] + 1  # where its piece is empty
    model = keras.Sequential(
        [keras.Input((9,), dtype="int32"), keras.layers.Embedding(257, 1, name="a")]
    )
    model.set_weights([(np.arange(257) == second_of_o)[:, None].astype("float32")])
    path = tmp_path / "a.html"
    options = {"shown": labelled.byte_pieces(9), "verbose": 0}
    km.analysis.report(model, x, labelled.labels, ["a"], path, **options)
    found = seen(tmp_path, path, MARKS, "#a/0")
    assert len(found) == 6
    for text, mark in found:
        assert mark == "marked: ö"
        assert text.replace("marked: ", "") in texts


HOSTILE_VIEWS = """
  const found = {};
  const left = (text, at) => {
    const range = inside.createRange();
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return range.getBoundingClientRect().left;
  };
  const fromTheLeft = ({ firstChild: text }) => {
    const at = text.data.indexOf("\\\\u202e");
    return left(text, at) < left(text, at + 1);
  };
  for (const hash of HASHES) {
    await go(hash);
    const escaped = all("bdi, .text")
      .filter((x) => isShown(x) && x.firstChild.data.includes("\\\\u202e"));
    found[hash] = [
      inside.body.innerText,
      all("b, i, iframe, img[src='x']").length,
      escaped.map(fromTheLeft),
    ];
  }
  return [found, page.alerted === true];"""


def test_hostile_texts_are_text_in_every_view(tmp_path):
    path = hostile_report(tmp_path)
    name = HOSTILE[0].replace("/", "|")
    neuron = "#" + "/".join(quote(x, safe="") for x in (HOSTILE[0], name, "0"))
    hashes = ["#overview", "#neurons", "#comparison", neuron]
    look = HOSTILE_VIEWS.replace("HASHES", str(hashes))
    found, alerted = seen(tmp_path, path, look)
    assert not alerted
    assert [elements for _, elements, _ in found.values()] == [0] * 4
    texts = {hash: text for hash, (text, *_) in found.items()}
    from_the_left = found[neuron][2]
    assert from_the_left
    assert all(from_the_left)
    for label in SHOWN:
        assert label[:20] in texts[neuron]
        assert label[:20] in texts["#overview"]
    assert f"{HOSTILE[0]}: neuron 0 of {name}" in texts[neuron]
    assert f"Against {HOSTILE[0]}" in texts["#comparison"]
    assert HOSTILE[1] in texts["#neurons"]
