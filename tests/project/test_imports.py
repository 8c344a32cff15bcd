"""Which part of the package may import which, and what other programs import of it."""

import ast
import graphlib
import importlib
import re
import types
from pathlib import Path

import pytest

import keras_mono

ROOT = Path(keras_mono.__file__).parent
# From the bottom to the top: each may import itself and those before it. `_internal`
# and `backend` use each other, without a cycle of modules.
ORDER = ["_internal backend", "ops", "selectors", "layers", "callbacks"]
ORDER += ["surgery", "torch"]
ON_TOP = {"keras_mono", "keras_mono.__main__"}  # they may import everything


def modules():
    """Dotted name to path."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(path, known):
    """Modules of the package that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and (node.module or "") in known:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


MODULES = modules()
GRAPH = {
    name: {x for x in imports_of(path, MODULES) if x != name}
    for name, path in MODULES.items()
}


def part_of(module):
    """The package right below keras_mono that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def test_analysis_is_imported_by_nothing_below():
    users = {name for name, found in GRAPH.items() if "analysis" in map(part_of, found)}
    users -= {name for name in users if part_of(name) == "analysis"}
    assert "keras_mono" in users
    assert users <= ON_TOP


@pytest.mark.parametrize("part", ORDER)
def test_a_part_imports_only_those_below(part):
    above = set(ORDER[ORDER.index(part) + 1 :])
    parts = part.split()
    found = {
        (name, used)
        for name, imported in GRAPH.items()
        if part_of(name) in parts
        for used in imported
        if part_of(used) in above
    }
    assert not found


def test_there_is_no_cycle():
    graph = {
        name: found
        for name, found in GRAPH.items()
        if part_of(name) != "selectors"  # `selectors.get` makes its subclasses
    }
    assert len(graph) > 50
    graphlib.TopologicalSorter(graph).prepare()


def names_used(path):
    """Dotted names of the package that a program imports, or reads of `km`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if re.fullmatch(r"km(\.\w+)+", dotted):
                yield dotted.replace("km", "keras_mono", 1)


def exists(dotted):
    """Attributes of what is no module are not looked for."""
    found = keras_mono
    for name in dotted.split(".")[1:]:
        if not isinstance(found, types.ModuleType):
            return True
        module = f"{found.__name__}.{name}"
        if module in MODULES:
            found = importlib.import_module(module)
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return False
    return True


def test_what_programs_use_exists():
    """Also in those that no test runs."""
    programs = [
        path
        for folder in ("benchmarks", "examples", "studies")
        for path in (Path(__file__).parents[2] / folder).rglob("*.py")
    ]
    names = {name for path in programs for name in names_used(path)}
    assert len(names) > 20
    assert [name for name in sorted(names) if not exists(name)] == []
