"""Run scripts, each in a fork of one process, which has imported Keras for all of them.

    python forked_scripts.py FIRST.py SECOND.py ...

The imports are most of the time of a short script. Prints the errors of those that
fail as JSON, by name.
"""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path


def errors_of(scripts):
    """What each of those scripts wrote that fail, by name."""
    command = [sys.executable, __file__, *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _run(script):
    """In this process, which ends; its folder is the working directory."""
    os.chdir(script.parent)
    output = os.open(script.with_suffix(".txt"), os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.argv = [str(script)]
    status = 1
    try:
        code = compile(script.read_text("utf-8"), script, "exec")
        exec(code, {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main():
    import keras  # noqa: F401
    import matplotlib.pyplot  # noqa: F401

    import keras_mono  # noqa: F401

    failed = {}
    for script in map(Path, sys.argv[1:]):
        child = os.fork()
        if child == 0:
            _run(script)
        _, status = os.waitpid(child, 0)
        if status:
            failed[script.name] = script.with_suffix(".txt").read_text("utf-8")
    print(json.dumps(failed))


if __name__ == "__main__":
    main()
