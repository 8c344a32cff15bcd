"""What MkDocs calls while it builds the site: pages from elsewhere, and links to them.

`docs/` holds the guides. The README is the site's first page; the notebooks, the API
reference, and files that pages link to outside of `docs/` become pages too.
"""

from pathlib import Path
from typing import Any

import api_pages
import links
import notebook_pages
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
FROM_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
}
HIDDEN = "---\nhide: [navigation]\n---\n"
# Path in the project to path in the site, and back for pages.
PAGES: dict[str, str] = {}
ORIGINS: dict[str, str] = {}


def on_config(config: Any) -> None:
    """Complete the navigation, and name sections as GitHub does."""
    from pymdownx.slugs import slugify

    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    for entry in config.nav:
        if "API" in entry:
            entry["API"] = api_pages.nav()


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in `docs/`."""
    PAGES.clear()
    ORIGINS.clear()
    for file in files:
        _at(f"docs/{file.src_uri}", file.src_uri)
    texts = {
        f"docs/{file.src_uri}": file.content_string
        for file in files.documentation_pages()
    }

    def add(uri: str, content: str | bytes, origin: str | None = None) -> None:
        file = File.generated(config, uri, content=content)
        if uri.startswith("files/"):
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
        if origin:
            _at(origin, uri)
            if isinstance(content, str):
                texts[origin] = content

    for origin, uri in FROM_ROOT.items():
        text = (ROOT / origin).read_text("utf-8")
        # The first page is alone in its section.
        add(uri, HIDDEN + text if uri == "index.md" else text, origin)
    for uri, text in api_pages.pages().items():
        add(uri, text, f"docs/{uri}")
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, pictures = notebook_pages.as_markdown(path)
        add(f"notebooks/{path.stem}.md", text, f"docs/notebooks/{path.name}")
        for name, data in pictures.items():
            add(f"notebooks/{name}", data)
    _add_linked(texts, add)
    return files


def _at(origin: str, uri: str) -> None:
    PAGES[origin] = uri
    ORIGINS[uri] = origin


def _add_linked(texts: dict[str, str], add: Any) -> None:
    """Pages for files and folders that a page links to and that are none themselves."""
    wanted = {path for origin in texts for path in links.targets(texts[origin], origin)}
    while missing := {path for path in wanted if path not in PAGES}:
        wanted = set()
        for path in sorted(missing):
            PAGES[path] = ""  # seen
            if not (ROOT / path).exists():
                del PAGES[path]
                continue
            if path.endswith(".md"):
                text = (ROOT / path).read_text("utf-8")
                add(f"files/{path}", text, path)
                wanted.update(links.targets(text, path))
                continue
            text, names = links.listing(path)
            add(f"files/{path}.md", text)
            PAGES[path] = f"files/{path}.md"
            wanted.update(names)
        wanted -= missing


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the project as links of the site."""
    uri = page.file.src_uri
    # A page about a folder names what is in it from the top of the project.
    origin = ORIGINS.get(uri, "")
    text = links.in_site(markdown, origin, uri, PAGES)
    if origin.endswith(".ipynb"):
        name = origin.rpartition("/")[2]
        text += f"\n[This page as a notebook]({name}){{ download }}\n"
    return text
