"""What is public in keras_mono, read from the `__init__.py` files, without an import.

A name is public if an `__init__.py` imports it under itself (`import x as x`) and it
does not begin with an underscore.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# How the layers ask what backends do differently: for who works on this library.
NOT_FOR_USERS = "keras_mono.backend"


@dataclass(frozen=True)
class Public:
    """A function or class, the module that offers it and the one that defines it."""

    name: str
    module: str
    defined_in: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def origin(self) -> str:
        return f"{self.defined_in}.{self.name}"


def is_public(module: str) -> bool:
    """Whether a package of keras_mono is for users."""
    if any(part.startswith("_") for part in module.split(".")):
        return False
    return not f"{module}.".startswith(f"{NOT_FOR_USERS}.")


def public_modules() -> dict[str, list[Public]]:
    """Each public module's names, in the order of the module's `__init__.py`."""
    found = {}
    for path in sorted((ROOT / "keras_mono").rglob("__init__.py")):
        module = ".".join(path.parent.relative_to(ROOT).parts)
        if not is_public(module):
            continue
        found[module] = [
            Public(alias.name, module, _followed(node.module or "", alias.name))
            for node in ast.parse(path.read_text("utf-8")).body
            # From the package itself come modules.
            if isinstance(node, ast.ImportFrom) and node.module != module
            for alias in node.names
            if alias.name == alias.asname and not alias.name.startswith("_")
        ]
    return found


def docstring(path: str) -> str:
    """The docstring of a module, or of a function or class by its dotted path."""
    file = _file_of(path)
    if file:
        return ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    module, _, name = path.rpartition(".")
    return ast.get_docstring(_definition(module, name)) or ""


def is_class(path: str) -> bool:
    module, _, name = path.rpartition(".")
    return isinstance(_definition(module, name), ast.ClassDef)


def _definition(module: str, name: str) -> ast.ClassDef | ast.FunctionDef:
    file = _file_of(module)
    if file:
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                return node
    raise ValueError(f"{module} defines no function or class {name}.")


def _followed(module: str, name: str) -> str:
    """The module that defines a name that `module` offers."""
    file = _file_of(module)
    for node in ast.parse(file.read_text("utf-8")).body if file else []:
        if isinstance(node, ast.ImportFrom) and any(
            alias.name == name == alias.asname for alias in node.names
        ):
            return _followed(node.module or "", name)
    return module


def _file_of(module: str) -> Path | None:
    stem = ROOT.joinpath(*module.split("."))
    files = [stem / "__init__.py", stem.with_suffix(".py")]
    return next((file for file in files if file.exists()), None)
