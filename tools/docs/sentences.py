"""One sentence a line in the guides, so that a change shows which sentences changed.

python tools/docs/sentences.py docs/monitor.md      writes the page anew
"""

import re
import sys
from pathlib import Path

# Programs write these pages, or they are tables.
NOT_GUIDES = {"choosing.md", "manipulation.md", "results.md", "recipes.md"}
NOT_GUIDES |= {"support.md", "gallery.md", "manipulation-networks.md"}
ITEM = re.compile(r"(\s*(?:[-*]|\d+\.) +)(.*)")
# What ends a sentence, what may stand behind it, what begins the next; abbreviations.
END = re.compile(r"(?<=[.!?])([)\"*_]*) +(?=[*_\"(\[`]*[A-ZΑ-Ωα-ω`])")
SHORT = re.compile(r"\b(?:[Ff]igs?|[Dd]ef|[Aa]lgs?|[Ee]qs?|et al|vs|cf|e\.g|i\.e)\.$")


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph. Those inside brackets are not divided."""
    # A space in code ends nothing.
    text = re.sub(r"`[^`]*`", lambda match: match[0].replace(" ", "\0"), text)
    found = [""]
    place = 0
    for match in END.finditer(text):
        piece = text[place : match.start()] + match[1]
        found[-1] += piece
        depth = found[-1].count("(") - found[-1].count(")")
        if SHORT.search(piece) or depth > 0:
            found[-1] += " "
        else:
            found.append("")
        place = match.end()
    found[-1] += text[place:]
    return [sentence.replace("\0", " ") for sentence in found]


def reflowed(text: str) -> str:
    """The page with one sentence a line; code, tables and headings as they are."""
    done: list[str] = []
    paragraph: list[str] = []
    lead = ""
    fence = ""

    def end() -> None:
        nonlocal lead
        if paragraph:
            first, *others = sentences(" ".join(paragraph))
            done.append(lead + first)
            done.extend(" " * len(lead) + sentence for sentence in others)
        paragraph.clear()
        lead = ""

    for line in text.split("\n"):
        mark = line.strip()
        if fence or mark.startswith("```"):
            end()
            fence = "```" if not fence else "" if mark == "```" else fence
            done.append(line)
        elif not mark or mark[0] in "|#<!" or (line[:4] == "    " and not paragraph):
            end()
            done.append(line)
        elif item := ITEM.fullmatch(line):
            end()
            lead = item[1]
            paragraph.append(item[2].strip())
        else:
            paragraph.append(mark)
    end()
    return "\n".join(done)


def guides() -> list[Path]:
    folder = Path(__file__).resolve().parents[2] / "docs"
    return [path for path in sorted(folder.glob("*.md")) if path.name not in NOT_GUIDES]


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]) if sys.argv[1:] else guides():
        if page.name in NOT_GUIDES:
            sys.exit(f"{page} is no guide: a program writes it, or parts of it.")
        page.write_text(reflowed(page.read_text("utf-8")), "utf-8")
