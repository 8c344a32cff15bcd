"""The page of a report replaces the one that was there, and only when complete."""

import os
import stat

import keras
import numpy as np
import pytest

import keras_mono as km

pytestmark = pytest.mark.one_backend


def report(path, title="A title", labels=None, layers=("units",)):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="units")])
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    labels = np.arange(40) % 2 if labels is None else labels
    return km.analysis.report(model, x, labels, layers, path, title, verbose=0)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_bytes_that_are_no_text_are_shown_as_escapes(tmp_path):
    path = tmp_path / "a.html"
    labels = np.where(np.arange(40) % 2, "fine", "br\udcffken")
    report(path, title="caf\udce9", labels=labels)
    text = path.read_text("utf-8")
    assert "<h1>caf\\udce9</h1>" in text
    assert "br\\udcffken" in text


def test_what_was_there_stays_when_the_work_fails(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("old")
    for options in ({"layers": ["nowhere"]}, {"labels": np.zeros(40)}):
        with pytest.raises(ValueError, match=r"nowhere|at least two features"):
            report(path, **options)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.html"]


def test_an_old_page_is_replaced_with_its_permissions_and_through_a_link(tmp_path):
    path, link = tmp_path / "a.html", tmp_path / "link.html"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    report(link)
    assert link.is_symlink()
    assert "</html>" in path.read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["a.html", "link.html"]


def test_a_path_that_cannot_be_written_is_told_before_any_work(tmp_path):
    locked = tmp_path / "long" / ("x" * 300 + ".html")
    locked.parent.mkdir()
    for path in (tmp_path, tmp_path / "no" / "a.html", locked, "a\0.html"):
        # The layer is unknown too, which is seen when work begins.
        with pytest.raises(ValueError, match=r"`path` must be a file in a folder that"):
            report(path, layers=["nowhere"])
    assert names(locked.parent) == []


def test_a_device_is_written_to_and_not_replaced():
    before = os.stat(os.devnull)
    report(os.devnull)
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode)
    assert before.st_ino == after.st_ino
