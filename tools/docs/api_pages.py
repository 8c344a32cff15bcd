"""The API reference: a page for each public name, and a list for each module."""

from collections.abc import Iterator
from typing import Any

from public_names import Public, docstring, is_class, public_modules

INTRODUCTION = """# API reference

Every public name has a page. `km` is `keras_mono`, as in `import keras_mono as km`.

| module | what it holds |
| --- | --- |
"""


def pages() -> dict[str, str]:
    """Text of every page by its path in the site."""
    modules = public_modules()
    rows = [
        f"| [`{module}`]({_folder(module)}/index.md) | {summary(module)} |"
        for module in modules
    ]
    found = {"api/index.md": INTRODUCTION + "\n".join(rows) + "\n"}
    files = page_names(modules)
    for module, names in modules.items():
        found[f"api/{_folder(module)}/index.md"] = _module_page(module, names, files)
        for public in names:
            found[files[public]] = _page(public, files)
    return found


def nav() -> list[Any]:
    """The entries of the navigation, in the form of mkdocs.yml."""
    modules = public_modules()
    files = page_names(modules)
    entries: list[Any] = ["api/index.md"]
    for module, names in modules.items():
        below: list[Any] = [f"api/{_folder(module)}/index.md"]
        below += [{public.name: files[public]} for public in names]
        entries.append({module: below})
    return entries


def page_names(modules: dict[str, list[Public]]) -> dict[Public, str]:
    """The path of each name's page.

    `Ablation` and `ablation` would be one file where case does not count.
    """
    found: dict[Public, str] = {}
    for module, names in modules.items():
        lower = [public.name.lower() for public in names]
        for public in names:
            twice = lower.count(public.name.lower()) > 1
            end = "-class" if twice and is_class(public.origin) else ""
            found[public] = f"api/{_folder(module)}/{public.name}{end}.md"
    return found


def summary(path: str) -> str:
    """The first sentence of the docstring."""
    return " ".join(docstring(path).split("\n\n")[0].split()).replace("|", "\\|")


def _folder(module: str) -> str:
    return module.removeprefix("keras_mono.").replace(".", "-")


def _module_page(module: str, names: list[Public], files: dict[Public, str]) -> str:
    rows = [
        f"| [`{public.name}`]({files[public].rpartition('/')[2]}) "
        f"| {summary(public.origin)} |"
        for public in names
    ]
    table = ["| name | what it does |", "| --- | --- |", *rows]
    text = docstring(module)
    return "\n".join([f"# {module}", "", text, "", *table, ""])


def _page(public: Public, files: dict[Public, str]) -> str:
    first = next(other for other in files if other.origin == public.origin)
    if first == public:
        return f"::: {public.path}\n"
    there = f"../../{files[first]}"
    text = f"The same as [`{first.path}`]({there})."
    return f"# {public.path} {{#{public.path}}}\n\n{text}\n\n{summary(public.origin)}\n"


def names_of_pages() -> Iterator[tuple[str, str]]:
    """Dotted path of every public name, and the path of its page."""
    for public, file in page_names(public_modules()).items():
        yield public.path, file
