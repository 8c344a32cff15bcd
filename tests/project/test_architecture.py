"""What `make lint` cannot say of how the package is built; see also pyproject.toml.

Every rule is also shown a piece of code that breaks it.
"""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "keras_mono"
GUIDE = PACKAGE.parent / "CONTRIBUTING.md"
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
# Where code may say which backend or device it is for.
OF_BACKENDS = ("backend/", "torch/")
BACKENDS = ("jax", "tensorflow", "torch")
DEVICES = ("cpu", "cuda", "gpu", "meta", "mps", "tpu")
MOST_LINES = 40  # of a function, docstring included
MOST_PRIVATE_NAMES = 3  # at the top level of the package


def backends_named(source):
    """Strings that are the name of a backend, of a module of one, or of a device.

    So no `if backend == "torch"`, `import_module("jax.numpy")`, `sys.modules["torch"]`.
    """
    return [
        f"line {node.lineno}: {node.value!r}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value in DEVICES or node.value.split(".")[0] in BACKENDS
        if " " not in node.value
    ]


def devices_asked(source):
    return [
        f"line {node.lineno}: .{node.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in ("device", "is_cuda")
    ]


def long_functions(source):
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno >= MOST_LINES
    ]


def private_names_at_the_top(sources):
    tops = {name.split("/")[0] for name in sources}
    return sorted(n for n in tops if n.startswith("_") and not n.startswith("__"))


def is_private(name):
    return name.startswith("_") and not name.endswith("_")


def private_of_classes(source):
    """The private attributes and methods that the classes of a module define."""
    found = set()
    for a_class in ast.walk(ast.parse(source)):
        if not isinstance(a_class, ast.ClassDef):
            continue
        for node in ast.walk(a_class):
            if isinstance(node, ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
    return {name for name in found if is_private(name)}


def private_read_elsewhere(sources):
    """Private attributes of a class that code of another module reads of an object."""
    owners = {}
    for name, source in sources.items():
        for attribute in private_of_classes(source):
            owners.setdefault(attribute, set()).add(name)
    return [
        f"{name}, line {node.lineno}: {ast.unparse(node)}"
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in owners
        if name not in owners[node.attr]
        if ast.unparse(node.value) not in ("self", "cls", "super()")
    ]


def not_where_the_guide_says(guide, sources):
    """Names of its table "Where the method stands" that their file does not define."""
    rows = re.findall(r"^\|[^|]*\| `([\w/]+\.py)` \|([^|]*)\|$", guide, re.MULTILINE)
    assert len(rows) >= 10
    definitions = (ast.FunctionDef, ast.ClassDef)
    return [
        f"{file}: {name}"
        for file, names in rows
        for name in re.findall(r"`(\w+)`", names)
        if name
        not in {
            node.name
            for node in ast.walk(ast.parse(sources.get(file, "")))
            if isinstance(node, definitions)
        }
    ]


def breaks(rule):
    """What breaks a rule, in the modules that are for no backend."""
    return [
        f"{name}, {found}"
        for name, source in SOURCES.items()
        if not name.startswith(OF_BACKENDS)
        for found in rule(source)
    ]


def test_no_backend_or_device_is_named_outside_its_module():
    assert breaks(backends_named) == []


def test_no_tensor_is_asked_for_its_device():
    assert breaks(devices_asked) == []


def test_functions_are_short():
    found = [f"{name}, {f}" for name, s in SOURCES.items() for f in long_functions(s)]
    assert found == []


def test_private_modules_stand_in_rooms():
    assert len(private_names_at_the_top(SOURCES)) <= MOST_PRIVATE_NAMES, (
        private_names_at_the_top(SOURCES)
    )


def test_no_class_reads_what_is_private_to_another():
    assert private_read_elsewhere(SOURCES) == []


def test_the_method_stands_where_the_guide_says():
    assert not_where_the_guide_says(GUIDE.read_text("utf-8"), SOURCES) == []


@pytest.mark.parametrize(
    "source",
    [
        'importlib.import_module("torch.distributed")',
        '__import__("jax")',
        'if name() == "tensorflow": pass',
        'x.to("cuda")',
    ],
)
def test_a_named_backend_is_noticed(source):
    assert len(backends_named(source)) == 1


def test_text_may_name_backends():
    assert (
        backends_named('"""torch works\n\ntoo."""\nraise E("jax: no such layer")') == []
    )


def test_a_device_is_noticed():
    assert devices_asked("if x.device.type: pass") == ["line 1: .device"]


def test_a_long_function_is_noticed():
    lines = "    x = 1\n"
    assert long_functions("def f():\n" + 39 * lines) == []
    assert long_functions("def f():\n" + 40 * lines) == ["f: 41 lines"]


def test_private_names_are_counted():
    sources = ["__init__.py", "_internal/a.py", "_internal/b.py", "_a.py", "b/_c.py"]
    assert private_names_at_the_top(sources) == ["_a.py", "_internal"]


def test_a_private_attribute_read_elsewhere_is_noticed():
    sources = {
        "a.py": "class A:\n    def __init__(self):\n        self._x = 1",
        "b.py": "class B(A):\n    def f(self, a):\n        return self._x + a._x",
    }
    assert private_read_elsewhere(sources) == ["b.py, line 3: a._x"]


def test_a_formula_that_has_moved_is_noticed():
    row = "| φ | `a.py` | `phi`, `psi` |\n"
    found = not_where_the_guide_says(10 * row, {"a.py": "def phi():\n    pass"})
    assert set(found) == {"a.py: psi"}
