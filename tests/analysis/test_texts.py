"""Labelled texts from what is installed."""

import numpy as np
import pytest

import keras_mono as km
from keras_mono.analysis.texts import LOCALES

pytestmark = pytest.mark.one_backend

A = km.analysis


@pytest.fixture(scope="module")
def languages():
    return A.natural_languages()


def test_ten_languages_and_more(languages):
    names, counts = np.unique(languages.labels, return_counts=True)
    assert names.tolist() == sorted(LOCALES)
    assert len(names) >= 10
    assert counts.min() >= 500
    by_text = dict(zip(languages.texts, languages.labels, strict=True))
    assert len(by_text) == len(languages.texts)  # each once
    assert by_text["Deutschland"] == "de"
    assert by_text["Allemagne"] == "fr"
    assert "Argentina" not in by_text  # the same in several


def test_draws_repeat_themselves():
    few = A.natural_languages(["de", "fr"], most=30, seed=4)
    again = A.natural_languages(["de", "fr"], most=30, seed=4)
    other = A.natural_languages(["de", "fr"], most=30, seed=5)
    assert few.texts == again.texts != other.texts
    assert np.unique(few.labels, return_counts=True)[1].tolist() == [30, 30]
    assert len(set(few.labels[:30])) == 2  # mixed


def test_bytes():
    found = A.LabelledTexts(["ab", "é", "abcdef"], np.array(["x", "y", "x"]))
    expected = [[98, 99, 0, 0], [0xC3 + 1, 0xA9 + 1, 0, 0], [98, 99, 100, 101]]
    np.testing.assert_array_equal(found.as_bytes(4), expected)


def test_characters():
    found = A.LabelledTexts(["ba", "é", "abcé"], np.array(["x", "y", "x"]))
    rows, vocabulary = found.as_characters(3)
    assert vocabulary == "abcé"
    np.testing.assert_array_equal(rows, [[2, 1, 0], [4, 0, 0], [1, 2, 3]])
    rows, _ = found.as_characters(4, vocabulary="ab")
    np.testing.assert_array_equal(rows, [[2, 1, 0, 0], [3, 0, 0, 0], [1, 2, 3, 3]])


def test_digits():
    found = A.digits()
    assert found.x.shape == (1797, 8, 8, 1)
    assert found.x.dtype == "float32"
    assert (found.x.min(), found.x.max()) == (0, 1)
    assert np.bincount(found.labels).min() > 170
    assert found.x[found.labels == 0, 4, 3:5].mean() < 0.2  # a hole in the middle


def test_code_of_this_machine():
    found = A.code_languages(
        {"python": [".py"], "c": [".h"], "fortran": [".f90", ".f"]}, length=64, most=80
    )
    assert set(found.labels) == {"python", "c", "fortran"}
    assert all(len(text) == 64 for text in found.texts)
    includes = ["#" in t for t in np.array(found.texts)[found.labels == "c"]]
    assert np.mean(includes) > 0.05


def test_the_selection_of_code(tmp_path):
    (tmp_path / "a").mkdir()
    for number in range(100):
        (tmp_path / "a" / f"{number:03}.py").write_text(f"{number:04}" * 20)
    (tmp_path / "b.h").write_text("x" * 8 + "0000" * 2 + " " * 8 + "short")
    (tmp_path / "broken.h").write_bytes(b"\xff\xfe" * 20)
    found = A.code_languages(
        {"python": [".py"], "c": [".h"]}, length=8, most=None, roots=[tmp_path]
    )
    mine = {n: np.array(found.texts)[found.labels == n] for n in ("python", "c")}
    # 40 files from the first to the last, two or three apart; what is in both is in
    # neither; blanks and rests are left out.
    chosen = [int(text[:4]) for text in sorted(mine["python"])]
    assert len(chosen) == 39
    assert set(np.diff([0, *chosen])) == {2, 3}
    assert chosen[-1] == 99
    assert mine["c"].tolist() == ["x" * 8]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"CLDR locales.*'klingon'"):
        A.natural_languages(["de", "klingon"])
    (tmp_path / "a.py").write_text("x" * 200)
    with pytest.raises(ValueError, match=r"No file of \['c'\].*files of \['python'\]"):
        A.code_languages({"python": [".py"], "c": [".h"]}, roots=[tmp_path])
    (tmp_path / "a.h").write_text("y" * 50)
    with pytest.raises(ValueError, match=r"Nothing is left of \['c'\]"):
        A.code_languages({"python": [".py"], "c": [".h"]}, 100, roots=[tmp_path])
    with pytest.raises(ValueError, match=r"Nothing is left of \['en', 'en_US'\]"):
        A.natural_languages(["en", "en_US"])
