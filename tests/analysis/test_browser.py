"""The report in a real browser, at the width of a phone and of a desktop."""

import re
import shutil
import subprocess

import keras
import pytest

import keras_mono as km
from support import planted

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
]
# Loads the page in a frame of a given width, and writes what it looks like there.
FRAME = """<iframe id="page" src="{page}" width="{width}" height="900"></iframe>
<script>document.getElementById("page").onload = function () {{
  const inside = this.contentDocument, root = inside.documentElement;
  const pictures = [...inside.images].map(i => i.complete && i.naturalWidth > 0);
  const fits = [...inside.images].map(i => i.getBoundingClientRect().right);
  document.title = JSON.stringify([root.scrollWidth, root.clientWidth,
    pictures.filter(Boolean).length, Math.max(...fits)]);
}};</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    z, labels = planted.activations()
    models = {}
    for name, units in {"small": 4, "large": 30}.items():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((z.shape[1],)), keras.layers.Dense(units, name="units")]
        models[name] = keras.Sequential(layers)
    path = tmp_path_factory.mktemp("page") / "page.html"
    return km.analysis.report(models, z, labels, ["units"], path, verbose=0)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_and_shows_every_picture(page, width, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width), "utf-8")
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--window-size=1400,1000", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
    )
    found = re.search(r"<title>\[(.*?)\]</title>", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-1000:]
    content, window, pictures, right = map(float, found[1].split(","))
    assert window <= width
    assert content <= window  # nothing to scroll sideways
    assert right <= window
    assert pictures == page.read_text("utf-8").count("<img ")
