"""Runs as lines of JSON: appended one by one, so that a study can be interrupted."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

import keras_mono as km

PACKAGES = ("keras", "jax", "torch", "tensorflow", "numpy", "scipy", "scikit-learn")
PACKAGES += ("babel", "pillow")  # phrases, and the decoding of photographs
STORED = Path(__file__).resolve().parents[2] / "docs" / "data" / "evidence"


class Store:
    """The runs of one setting at one scale, in `FOLDER/SETTING.jsonl`."""

    def __init__(self, folder: Path, setting: str, scale: str = "default") -> None:
        name = setting if scale == "default" else f"{setting}-{scale}"
        self.path = folder / f"{name}.jsonl"

    def runs(self) -> list[dict[str, Any]]:
        """All that are whole: a line that an interruption cut off does not count."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text("utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return found

    def done(self) -> set[tuple[tuple[str, ...], int]]:
        return {(tuple(run["path"]), run["seed"]) for run in self.runs()}

    def check(self, run: dict[str, Any]) -> None:
        """Stop where pairs would be made of runs that differ in more than the method.

        `run` need not have its `data` yet.
        """
        for other in self.runs():
            for what in ("backend", "versions"):
                if other[what] != run[what]:
                    self._refuse(what, other[what], run[what])
            same = other["seed"] == run.get("seed")
            if same and other["data"] != run.get("data", other["data"]):
                self._refuse("data", other["data"], run["data"])

    def _refuse(self, what: str, there: Any, here: Any) -> None:
        raise SystemExit(
            f"{self.path} holds runs with other {what}: {there}. Here: {here}. Pass "
            "another folder with --out."
        )

    def add(self, run: dict[str, Any]) -> None:
        """In one write, so that several processes can add to one file."""
        self.check(run)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = "\n" if _is_cut_off(self.path) else ""
        line += json.dumps(run, sort_keys=True) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        handle = os.open(self.path, flags, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def _is_cut_off(path: Path) -> bool:
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def about() -> dict[str, Any]:
    """What a run ran on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions["keras-mono"] = km.__version__
    return {
        "backend": keras.config.backend(),
        "versions": versions,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()
