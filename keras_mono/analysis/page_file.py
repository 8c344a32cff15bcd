"""Replacing a file atomically, when its new content is complete."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Callable[[bytes], int]]:
    """A function that writes the file; the old file stays if anything fails.

    Raises:
        ValueError: before the block is entered, for a path that cannot be written to.
    """
    try:
        target, beside = _places(path)
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a ring of links
        raise ValueError(
            "`path` must be a file in a folder that exists and can be written to. "
            f"Received: '{path}': {error}. Pass for example 'report.html'."
        ) from error
    try:
        yield beside.write_bytes
        if beside != target:
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
    finally:
        if beside != target:
            beside.unlink(missing_ok=True)


def _places(path: Path) -> tuple[Path, Path]:
    """The file, and the new temporary file beside it; itself if it is a device."""
    target = path.resolve()
    if target.is_dir() or not target.parent.is_dir():
        raise OSError("the folder does not exist, or the path is one")
    if target.exists() and not os.access(target, os.W_OK):
        raise OSError("the file that is there is read-only")
    if target.exists() and not target.is_file():  # a pipe or a device
        return target, target
    beside = target.with_name(f".{uuid.uuid4().hex}.part")
    beside.touch(exist_ok=False)
    return target, beside
