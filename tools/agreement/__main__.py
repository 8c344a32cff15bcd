"""Three backends, the same weights and data: do they give the same numbers?

    python tools/agreement

(a) 20 steps of `fit`, k = 1: statistics, outputs and weights within a relative 1e-4.
(b) 20 single steps, k = 50, weights and state copied between the backends before each:
the same activations selected, except where φ is within 1e-5 of the k-th largest.

Prints the largest differences. The exit status is 1 if one is too large, if a backend
selected nothing, or if a backend could not run. Needs the environments that `make test`
creates, or `--python BACKEND=PATH` for interpreters that have Keras, a backend,
scikit-learn and this package. Everything runs on the CPU.

Each backend runs once, in a process of its own. The first one leads: it writes the
data and the state before each step as files, and the others replay them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent.parent / ".envs"
BACKENDS = ("jax", "torch", "tensorflow")
SECONDS = 300  # a backend's limit; each needs about 20


def main() -> int:
    arguments = _arguments()
    pythons = {b: ENVIRONMENTS / b / "bin" / "python" for b in arguments.backends}
    pythons |= arguments.python
    missing = [f"{b} ({path})" for b, path in pythons.items() if not path.exists()]
    if missing:
        raise SystemExit(
            f"No Python for {', '.join(missing)}. Run `make test`, which creates the "
            "environments, or pass `--python BACKEND=PATH`."
        )
    with tempfile.TemporaryDirectory() as scratch:
        leader, *others = arguments.backends
        for together in ([leader], others):
            workers = {b: _start(pythons[b], b, scratch) for b in together}
            if not _all_end_well(workers):
                return 1
        report = [str(pythons[leader]), str(HERE / "report.py"), scratch]
        command = [*report, *arguments.backends]
        return subprocess.run(command, env=_variables(leader)).returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tools/agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "backends", nargs="*", help="two or more to compare; default: all three"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="BACKEND=PATH",
        help="a backend's interpreter, instead of .envs/BACKEND/bin/python",
    )
    arguments = parser.parse_args()
    arguments.backends = arguments.backends or list(BACKENDS)
    unknown = set(arguments.backends) - set(BACKENDS)
    if unknown or len(set(arguments.backends)) < max(2, len(arguments.backends)):
        parser.error(f"expected two or more different ones of {', '.join(BACKENDS)}")
    pythons = dict(given.partition("=")[::2] for given in arguments.python)
    if not set(pythons) <= set(arguments.backends) or not all(pythons.values()):
        parser.error("`--python` needs BACKEND=PATH, for a backend that is compared")
    arguments.python = {b: Path(path).absolute() for b, path in pythons.items()}
    return arguments


def _start(python: Path, backend: str, scratch: str) -> subprocess.Popen[bytes]:
    print(f"running on {backend} ...", flush=True)
    command = [str(python), str(HERE / "worker.py"), scratch]
    return subprocess.Popen(command, env=_variables(backend))


def _all_end_well(workers: dict[str, subprocess.Popen[bytes]]) -> bool:
    """Wait for the workers, and say of each that failed how it ended."""
    well = True
    for backend, worker in workers.items():
        try:
            status = worker.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            status = worker.wait()
        if status:
            print(f"{backend} FAILED with exit status {status}", flush=True)
            well = False
    return well


def _variables(backend: str) -> dict[str, str]:
    """On the CPU, because accelerators may multiply with fewer digits.

    One OpenMP thread: on a busy machine PyTorch's threads wait for one another at each
    of its many small operations, which took ten times as long.
    """
    cpu = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **cpu, **quiet, "KERAS_BACKEND": backend}


if __name__ == "__main__":
    sys.exit(main())
