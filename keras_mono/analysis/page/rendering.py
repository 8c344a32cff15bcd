"""The page of a report: templates, style and script in one file."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_mono._internal.optional_imports import require
from keras_mono._internal.visible_text import visible
from keras_mono.analysis.page.sections import Section

TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("dom", "data", "table", "neuron", "comparison", "views")


def page(content: Mapping[str, Any], overview: Sequence[Section]) -> bytes:
    """The HTML file of a report, UTF-8.

    Args:
        content: From `contents`.
        overview: From `sections`.

    Raises:
        ImportError: if Jinja2 is missing, naming the extra.
    """
    jinja = require("jinja2")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _read("page.css"), "".join(_read(f"{n}.js") for n in _SCRIPTS)
    trusted = require("markupsafe").Markup
    text = environment.get_template("page.html").render(
        title=content["title"],
        neurons=sum(len(x["dead"]) for m in content["models"] for x in m["layers"]),
        compared=len(content["models"]) > 1,
        sections=overview,
        policy=_policy(style, script),
        style=trusted(style),
        script=trusted(script),
        data=trusted(_within_script(as_json(content))),
    )
    return text.encode("utf-8", "backslashreplace")


def as_json(content: Mapping[str, Any]) -> str:
    """The report as JSON without any white space."""
    return json.dumps(
        content, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may load and run: its own style and script, and data URLs."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _within_script(text: str) -> str:
    """JSON in which nothing ends the element that it stands in, and nothing hides."""
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return str(visible(text))  # JSON has the same escapes
