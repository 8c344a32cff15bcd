"""A page in a real browser: what a piece of JavaScript finds in it."""

import json
import re
import shutil
import subprocess
from urllib.parse import unquote

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
# Loads the page in a frame of a given width, looks at it, and writes what it found.
FRAME = """<!doctype html><iframe id="page" width="{width}" height="900"></iframe>
<script>
const pause = () => new Promise((go) => setTimeout(go, 50));
const frame = document.getElementById("page");
let page, inside;
const go = async (hash) => {{ page.location.hash = hash; await pause(); }};
const one = (query) => inside.querySelector(query);
const all = (query) => [...inside.querySelectorAll(query)];
const texts = (query) => all(query).map((x) => x.textContent);
const column = (query, i) =>
  all(`${{query}} tbody tr`).map((x) => x.cells[i].textContent);
const isShown = (x) => x.getClientRects().length > 0;
const press = async (key) => {{
  const options = {{ key, bubbles: true, cancelable: true }};
  inside.activeElement.dispatchEvent(new page.KeyboardEvent("keydown", options));
  await pause();
}};
const set = async (element, value) => {{
  element.value = value;
  const kind = element.tagName === "SELECT" ? "change" : "input";
  element.dispatchEvent(new page.Event(kind, {{ bubbles: true }}));
  await pause();
}};
frame.onload = async () => {{
  frame.onload = null;
  page = frame.contentWindow;
  inside = frame.contentDocument;
  const errors = [];
  page.addEventListener("error", (event) => errors.push(event.message));
  inside.addEventListener("securitypolicyviolation", (event) =>
    errors.push(event.violatedDirective));
  let found;
  try {{
    found = await (async () => {{ {look} }})();
  }} catch (error) {{
    errors.push(String(error));
  }}
  if (!inside.documentElement.dataset.ready) errors.push("the script did not run");
  const result = document.createElement("pre");
  result.textContent = encodeURIComponent(JSON.stringify({{ found, errors }}));
  document.body.append(result);
}};
frame.src = "{page}";
</script>"""


def seen(folder, page, look, hash="", width=1200):
    """What the JavaScript `look` returns in the page; there must be no error."""
    frame = folder / "frame.html"
    given = {"page": page.as_uri() + hash, "width": width, "look": look}
    frame.write_text(FRAME.format(**given), "utf-8")
    command = [BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, "--window-size=1400,1000", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
    )
    result = re.search(r"<pre>(.*?)</pre>", done.stdout)
    assert result, done.stdout[-500:] + done.stderr[-1000:]
    answer = json.loads(unquote(result[1]))
    assert answer["errors"] == []
    return answer["found"]
