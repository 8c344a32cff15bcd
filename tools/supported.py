"""Say at once, and plainly, when this Python cannot run the other tools.

Written for any Python 3.7 or newer, because an old one has to be able to read it.
"""

import subprocess
import sys

PYTHON = (3, 11)
PIP = (22, 3)  # the first with `pip --python`, which fills environments without pip


def problem() -> "str | None":
    """What is missing and how to get it, or None."""
    here = f"Python {sys.version.split()[0]} ({sys.executable})"
    if sys.version_info < PYTHON:
        return (
            f"Python 3.11 or newer is needed. Found: {here}. Name another one, for "
            "example: make demo PYTHON=python3.12"
        )
    pip = _pip_version()
    if _numbers(pip) < PIP:
        return (
            f"pip 22.3 or newer is needed. Found: pip {pip or 'missing'} for {here}. "
            "Install it with the system's package manager (Debian: apt install "
            "python3-pip), or name a Python that has it with PYTHON=..."
        )
    return None


def _pip_version() -> str:
    command = [sys.executable, "-m", "pip", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split()[1] if done.returncode == 0 else ""


def _numbers(version: str) -> "tuple[int, ...]":
    """The leading (major, minor) of a version such as `23.0.1` or `24.1b2`."""
    parts = (version + ".0").split(".")[:2]
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)


if __name__ == "__main__":
    sys.exit(problem())
