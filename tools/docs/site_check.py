"""What a built site must hold: a page for each public name, and nothing from elsewhere.

python tools/docs/site_check.py site
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from api_pages import names_of_pages

# What a browser fetches to show a page; links that a reader follows are not among them.
FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src"}
ELSEWHERE = re.compile(r"(?:https?:)?//")


class Page(HTMLParser):
    """What a page fetches, its anchors, and its pictures without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.without_alt: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        target = values.get(FETCHED.get(tag, ""), "")
        if tag != "link" or values.get("rel") not in ("canonical", "prev", "next"):
            self.fetched.append(target)
        if tag == "a":
            self.links.append(values.get("href", ""))
        if tag == "img" and not values.get("alt"):
            self.without_alt.append(target)


def dead(link: str, page: Path) -> bool:
    """Whether a link within the site leads nowhere."""
    path = unquote(link.partition("#")[0].partition("?")[0])
    if not path or re.match("[a-z]+:", path):
        return False
    return not (page.parent / path).exists()


def faults(site: Path) -> list[str]:
    """What is wrong, one line each."""
    pages = {
        path.relative_to(site).as_posix(): Page(path.read_text("utf-8"))
        for path in site.rglob("*.html")
    }
    found = []
    for name, file in names_of_pages():
        page = pages.get(file.removesuffix(".md") + ".html")
        if page is None or name not in page.ids:
            found.append(f"{name} has no page")
    pages.pop("404.html", None)  # its links begin at the top of a server
    for path, shown in pages.items():
        fetched = [target for target in shown.fetched if ELSEWHERE.match(target)]
        found += [f"{path} fetches {target}" for target in fetched]
        found += [f"{path}: {src} has no alt text" for src in shown.without_alt]
        lost = [link for link in shown.links if dead(link, site / path)]
        found += [f"{path}: no file {link}" for link in lost]
    for style in site.rglob("*.css"):
        for target in re.findall(r"url\(['\"]?([^)'\"]+)", style.read_text("utf-8")):
            if ELSEWHERE.match(target):
                found.append(f"{style.relative_to(site)} fetches {target}")
    if not list(site.glob("search/search_index.js*")):
        found.append("there is no search index")
    return found


def main(folder: str) -> int:
    found = faults(Path(folder))
    for fault in found:
        print(fault)
    count = len(list(names_of_pages()))
    print(f"{count} public names, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
