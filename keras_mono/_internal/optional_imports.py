"""Packages that only the pictures and tables need."""

import importlib
from types import ModuleType


def require(module: str) -> ModuleType:
    """Import an optional package, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"This needs {package}, which is not installed. Install it, or the extra "
            '`analysis`: `pip install ".[analysis]"` in a checkout.'
        ) from error
