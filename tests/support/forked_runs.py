"""Runs of a program, each in a fork of one process, which has imported Keras for all.

    python forked_runs.py PROGRAM.py

The imports are much of the time of a short run. Reads a line of JSON at a time: runs
that begin together, each `[arguments, variables of the environment]`. Answers with a
line: the status that each ended with, and what it printed.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

SECONDS = 300


class Forks:
    """The process that forks; a context manager."""

    def __init__(self, program):
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(program)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def run(self, *runs):
        """Statuses and texts of runs `(arguments, variables)` that begin together."""
        self.process.stdin.write(json.dumps(runs) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def _together(main, runs):
    """The statuses and texts."""
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in runs]
        statuses = _statuses(main, runs, outputs)
        return [(statuses[rank], _text(file)) for rank, file in enumerate(outputs)]


def _statuses(main, runs, outputs):
    """By rank. If one fails the others end, too: they wait for it."""
    ranks = {}
    for rank, (run, output) in enumerate(zip(runs, outputs, strict=True)):
        child = os.fork()
        if child == 0:
            _run(main, *run, output)
        ranks[child] = rank
    statuses = {}
    while ranks:
        child, status = os.wait()
        statuses[ranks.pop(child)] = status
        for other in ranks if status else ():
            os.kill(other, signal.SIGKILL)
    return statuses


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _run(main, arguments, variables, output):
    """In this process, which ends."""
    signal.alarm(SECONDS)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    sys.argv[1:] = arguments
    os.environ.update(variables)
    status = 1
    try:
        main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _program(path):
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    sys.modules["program"] = program  # PyTorch's own processes find its functions
    spec.loader.exec_module(program)
    return program


def main():
    import keras  # noqa: F401

    import keras_mono  # noqa: F401

    program = _program(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(_together(program.main, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
