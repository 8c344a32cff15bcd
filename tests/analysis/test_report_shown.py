"""How a report shows samples: images, texts, pieces, numbers."""

import base64
import io
import json

import keras
import numpy as np
import pytest
from matplotlib import image as images

import keras_mono as km
from keras_mono._internal.data import Batches
from keras_mono.analysis.page.shown import Shown

pytestmark = pytest.mark.one_backend

A = km.analysis
SAMPLES = 12


def shown(folder, data, **options):
    """What the JSON file of a report on a layer "same" holds to show."""
    array = data[0] if isinstance(data, list) else data
    inputs = keras.Input(array.shape[1:], dtype=str(array.dtype))
    z = keras.layers.Lambda(lambda x: keras.ops.cast(x, "float32"), name="same")(inputs)
    model = keras.Model([inputs] if isinstance(data, list) else inputs, z)
    path = folder / "a.json"
    labels = np.arange(SAMPLES) % 2
    options = {"json": path, "top": SAMPLES, "verbose": 0, **options}
    A.report(model, data, labels, ["same"], None, **options)
    found = json.loads(path.read_text("utf-8"))["samples"]
    return found["kind"], found["shown"]


def decoded(url):
    head, content = url.split(",")
    assert head == "data:image/png;base64"
    return images.imread(io.BytesIO(base64.b64decode(content)), format="png")


def numbers(*shape, low=0.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, shape).astype("float32")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_inputs_of_four_axes_are_images(channels, tmp_path):
    x = numbers(SAMPLES, 5, 7, channels)
    kind, found = shown(tmp_path, x)
    assert kind == "images"
    assert len(found) == SAMPLES
    for sample, url in found.items():
        expected = x[int(sample)].squeeze(-1) if channels == 1 else x[int(sample)]
        np.testing.assert_allclose(decoded(url), expected, atol=0.003)


@pytest.mark.parametrize(
    ("low", "high", "black", "white"), [(0, 255, 0, 255), (-3, 5, -3, 5), (0, 1, 0, 1)]
)
def test_the_range_of_grey(low, high, black, white, tmp_path):
    x = numbers(SAMPLES, 4, 4, 1, low=low, high=high)
    x[0, 0, 0], x[0, 0, 1] = low, high
    _, found = shown(tmp_path, x)
    expected = (x[1, :, :, 0] - black) / (white - black)
    np.testing.assert_allclose(decoded(found["1"]), expected, atol=0.003)


def test_large_images_become_smaller(tmp_path):
    given = np.repeat(np.repeat(numbers(SAMPLES, 50, 30), 3, axis=1), 3, axis=2)
    _, found = shown(tmp_path, numbers(SAMPLES, 3), shown=given)
    picture = decoded(found["2"])
    assert picture.shape == (75, 45)
    assert picture.mean() == pytest.approx(given[2].mean(), abs=0.003)


def test_images_that_are_given(tmp_path):
    given = np.random.default_rng(0).integers(256, size=(SAMPLES, 4, 6, 3), dtype="u1")
    kind, found = shown(tmp_path, numbers(SAMPLES, 3), shown=given)
    assert kind == "images"
    np.testing.assert_allclose(decoded(found["3"]), given[3] / 255, atol=1e-6)


def test_other_inputs_are_numbers(tmp_path):
    x = numbers(SAMPLES, 20)
    kind, found = shown(tmp_path, x)
    assert kind == "numbers"
    np.testing.assert_allclose(found["4"], x[4, :12], rtol=1e-3)
    assert shown(tmp_path, [x])[0] == "numbers"


def test_whole_numbers_are_pieces(tmp_path):
    x = np.arange(SAMPLES * 3).reshape(SAMPLES, 3)
    kind, found = shown(tmp_path, x.astype("int32"))
    assert kind == "pieces"
    assert found["2"] == ["6", "7", "8"]


@pytest.mark.parametrize("dtype", ["U9", "S9", object])
def test_strings_are_shown_whole(dtype):
    x = np.array([["zwölf"], ["a"]]).astype("U9")
    if dtype == "S9":
        x = np.char.encode(x, "utf-8")
    found = Shown(Batches([(x.astype(dtype), None)]))
    assert found.kind == "strings"
    assert found.some([1, 0]) == {"1": "a", "0": "zwölf"}


TEXTS = [f"text {i}" for i in range(SAMPLES)]


@pytest.mark.parametrize(
    ("given", "kind", "second"),
    [
        (TEXTS, "texts", "text 1"),
        (np.array(TEXTS), "texts", "text 1"),
        (np.array(TEXTS, object), "texts", "text 1"),
        ([[t, "!"] for t in TEXTS], "pieces", ["text 1", "!"]),
        ([[t] * (i + 1) for i, t in enumerate(TEXTS)], "pieces", ["text 1", "text 1"]),
        (np.array([[t, "!"] for t in TEXTS]), "pieces", ["text 1", "!"]),
    ],
)
def test_texts_that_are_given(given, kind, second, tmp_path):
    found = shown(tmp_path, numbers(SAMPLES, 3), shown=given)
    assert found[0] == kind
    assert found[1]["1"] == second


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (TEXTS[1:], "11 texts"),
        (numbers(SAMPLES + 1, 4, 4), "13 images"),
        (numbers(SAMPLES, 4, 4, 2), "ndarray"),
        ([1, "a"] * 6, "list"),
        ([["a"], [1]] * 6, "list"),
        ([[1], [1, 2]] * 6, "list"),
        (np.array([None] * SAMPLES), "list|ndarray"),
        ("text", "str"),
    ],
)
def test_what_cannot_be_shown(given, received, tmp_path):
    with pytest.raises(ValueError, match=rf"`shown` must hold.*Received: ({received})"):
        shown(tmp_path, numbers(SAMPLES, 3), shown=given)


def test_batches_that_are_not_taken_may_have_texts(tmp_path):
    x = numbers(SAMPLES, 3)
    options = {"shown": TEXTS, "batch_size": 4}
    _, found = shown(tmp_path, x, steps=1, **options)
    assert {*found} <= {"0", "1", "2", "3"}
    with pytest.raises(ValueError, match="Received: 11 texts"):
        shown(tmp_path, x, steps=3, shown=TEXTS[1:], batch_size=4)


def test_a_page_does_not_become_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_mono.analysis.page.shown._MOST_CHARACTERS", 20)
    _, found = shown(tmp_path, numbers(SAMPLES, 3), shown=TEXTS)
    assert len(found) == 3  # of six characters each


def test_the_pieces_of_bytes():
    texts = A.LabelledTexts(["zwölf", "a€"], np.array(["de", "en"]))
    assert texts.byte_pieces(5) == [["z", "w", "ö", "", "l"], ["a", "€", "", ""]]
    for row, pieces in zip(texts.as_bytes(5), texts.byte_pieces(5), strict=True):
        assert np.count_nonzero(row) == len(pieces)
