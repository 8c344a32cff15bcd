"""Runs of programs, each in a fork of one process, which has imported Keras for all.

    python forked_runs.py MODULE ...

imports the modules, too: imports are much of the time of a short run. Reads a line of
JSON at a time: runs that begin together, each a list of the program, its arguments, its
working directory and its variables of the environment. Answers with a line: the status
that each ended with, and what it printed.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NamedTuple

SECONDS = 300
# A fork cannot use the GPU of the process that it is a fork of.
ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": ""}


class Run(NamedTuple):
    program: Path
    arguments: list[str]
    folder: Path | None = None
    variables: dict[str, str] | None = None


class Forks:
    """The process that forks; a context manager."""

    def __init__(self, *modules, **variables):
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            env=os.environ
            | ON_THE_CPU
            | variables
            | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def run(self, *runs):
        """Statuses and texts of runs that begin together."""
        self.process.stdin.write(json.dumps(runs, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def _together(runs):
    """The statuses and texts."""
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in runs]
        statuses = _statuses(runs, outputs)
        return [(statuses[rank], _text(file)) for rank, file in enumerate(outputs)]


def _statuses(runs, outputs):
    """By rank. If one fails the others end, too: they wait for it."""
    ranks = {}
    for rank, (run, output) in enumerate(zip(runs, outputs, strict=True)):
        child = os.fork()
        if child == 0:
            _run(run, output)
        ranks[child] = rank
    statuses = {}
    while ranks:
        child, status = os.wait()
        statuses[ranks.pop(child)] = os.waitstatus_to_exitcode(status)
        for other in ranks if status else ():
            os.kill(other, signal.SIGKILL)
    return statuses


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _run(run, output):
    """In this process, which ends."""
    signal.alarm(SECONDS)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    program, arguments, folder, variables = run
    os.chdir(folder or os.getcwd())
    os.environ.update(variables or {})
    sys.argv = [program, *map(str, arguments)]
    sys.path[0] = str(Path(program).parent)
    status = 0
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        status = ended.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main():
    for module in ("keras", "keras_mono", *sys.argv[1:]):
        importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(_together(json.loads(line))), flush=True)
    os._exit(0)  # at once


if __name__ == "__main__":
    main()
