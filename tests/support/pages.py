"""Pages that the studies write from stored runs."""

import subprocess
import sys


def expect_unchanged(program):
    """The page is what the stored runs give, as `program --check` says."""
    done = subprocess.run(
        [sys.executable, str(program), "--check"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
