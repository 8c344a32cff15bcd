"""A notebook as a page of Markdown, with the outputs that are stored in it."""

import base64
import html
import json
from pathlib import Path
from typing import Any


def as_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """The page, and its pictures by name."""
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(fenced(source, "python"))
            for output in cell["outputs"]:
                parts.append(_output(output, path.stem, pictures))
    return "\n\n".join(parts) + "\n", pictures


def _output(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> str:
    if output["output_type"] == "stream":
        return fenced("".join(output["text"]), "text")
    if output["output_type"] == "error":
        raise ValueError(f"{stem}.ipynb holds an error: {output['evalue']}")
    data = output["data"]
    if "image/png" in data:
        alt = output["metadata"].get("image/png", {}).get("alt")
        if not alt:
            raise ValueError(f"{stem}.ipynb holds a picture without an `alt` text.")
        name = f"{stem}-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        return f'<img src="{name}" alt="{html.escape(alt)}">'
    return fenced("".join(data["text/plain"]), "text")


def fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
