"""Layers that reduce over 2 replicas at every n-th batch only (PyTorch).

    python reduce_every.py FOLDER 2

Each process saves arrays by the name of the case: see `forks`.
"""

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import keras_mono as km
from keras_mono.torch import Adapter, configure_replicas
from support import forks
from support.deferred_batches import (
    DRIFT,
    EVERY,
    FRACTION,
    KINDS,
    RANKS,
    drifting,
    hard,
    of_two_kinds,
)

OPTIONS = {"axis": -1, "start_step": 2}


def find(rank):
    found = {}
    for every in EVERY:
        found |= statistics(rank, every)
        found |= messages(rank, every)
        if every > 1:
            found |= threshold(rank, every)
        found[f"drift {every}"] = drift(rank, every)
    found |= compiled(rank)
    found["calibrated"] = calibrated(rank)
    found["cleared"] = cleared(rank)
    return found


def adapter(every, units, layer=None):
    made = Adapter(layer or km.layers.MonosemanticScale(axis=-1), (None, units))
    configure_replicas(made, reduce_every=every)
    return made.train()


def part(x, rank):
    """A replica's rows of a batch: all but one, which may be none, or that one."""
    return torch.tensor(x[-1:] if rank else x[:-1])


def state(made):
    return {v.name: v.numpy().copy() for v in made.layer.saved_variables()}


def statistics(rank, every):
    """Of a layer after each step, and whether it selected by the latest ones."""
    made = adapter(every, 4, km.layers.MonosemanticInhibition(0.1, **OPTIONS))
    ranked = adapter(every, 4, km.layers.MonosemanticInhibition(1, **OPTIONS))
    steps, same = [], []
    for x in hard():
        mine = part(x, rank)
        made(mine)
        expected = ranked.layer.as_pure_function()(mine)
        same.append(torch.equal(ranked(mine).nan_to_num(), expected.nan_to_num()))
        steps.append(state(made))
    found = {f"{name} {every}": [step[name] for step in steps] for name in steps[0]}
    return {**found, f"by the latest {every}": same}


class AllReduces(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += "allreduce" in str(func)
        return func(*args, **(kwargs or {}))


def messages(rank, every):
    """How many each kind of layer sends in 20 steps, after the first 20."""
    found = {}
    for name, make in KINDS.items():
        made = adapter(every, 4, make(**OPTIONS))
        batches = [torch.tensor(x[rank::RANKS]) for x in drifting(0.0, 40)]
        for x in batches[:20]:
            made(x)
        with AllReduces() as counted:
            for x in batches[20:]:
                made(x)
        found[f"messages {name} {every}"] = counted.number
    return found


def drift(rank, every):
    """The running mean after each step."""
    made, means = adapter(every, 64), []
    for x in drifting(DRIFT, 120, units=64):
        made(torch.tensor(x[rank::RANKS]))
        means.append(made.mean.numpy().copy())
    return means


def threshold(rank, every):
    """What τ selects of a stream of two kinds of batches that take turns."""
    layer = km.layers.MonosemanticInhibition(FRACTION, **OPTIONS)
    made, shares, taus = adapter(every, 16, layer), [], []
    for x in of_two_kinds():
        mine = torch.tensor(x[rank::RANKS])
        shares.append(float(layer.selected(mine).float().mean()))
        made(mine)
        taus.append(layer.selector_state["threshold"])
    return {f"shares {every}": shares, f"taus {every}": taus}


def compiled(rank):
    found = {}
    for name, make in KINDS.items():
        if name not in ("scale", "top-k"):
            continue
        eager, traced = (adapter(2, 4, make(**OPTIONS)) for _ in range(2))
        call = torch.compile(traced, fullgraph=True, backend="eager")
        for x in drifting(0.0, 6):
            mine = torch.tensor(x[rank::RANKS])
            for each in (eager, call):
                each(mine)
        for key, value in state(eager).items():
            found[f"eager {name} {key}"] = value
            found[f"compiled {name} {key}"] = state(traced)[key]
    return found


def calibrated(rank):
    """Every batch counts at once, whatever waited before."""
    made = adapter(4, 4)
    made(torch.ones(5, 4))
    x = np.concatenate(list(drifting(0.0, 5)))[rank::RANKS]
    km.calibrate(made, torch.tensor(x), batch_size=len(x) // 5)
    return [int(made.step), made.count.max()]


def cleared(rank):
    """What waits is forgotten by a reset, new weights and a new setting."""
    made = adapter(2, 4)
    layer, x = made.layer, torch.ones(5, 4) * rank
    for forget in (
        layer.reset,
        made.reset_parameters,
        lambda: made.load_state_dict(made.state_dict()),
        lambda: configure_replicas(made, reduce_every=2),
    ):
        made(x)
        forget()
    made(x)
    steps = [int(made.step)]
    made(x)
    return [*steps, int(made.step)]


if __name__ == "__main__":
    forks.run(find)
