"""Several PyTorch processes for a test, from one program.

They are forks of one process, so that the imports, which are most of the time, are made
once.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from support.forked_runs import ON_THE_CPU


def results(program, folder, number):
    """What each rank of `program` saved, as dicts of arrays."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(program), str(folder), str(number)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | ON_THE_CPU,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(number)]


def run(find):
    """For the program: save what `find(rank)` returns in each process."""
    folder, number = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(
        _save, (find, folder, number), nprocs=number, start_method="fork"
    )


def _save(rank, find, folder, number):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=number
    )
    np.savez(folder / f"{rank}.npz", **find(rank))
    distributed.barrier()
