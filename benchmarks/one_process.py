"""One process of the benchmark: times every layer, or counts its memory; prints JSON.

Started by layer.py, with its task as JSON in the first argument.
"""

import gc
import json
import os
import random
import statistics
import sys
import time
import warnings
from pathlib import Path

import devices

TASK = json.loads(sys.argv[1])
if not TASK["accelerator"]:
    devices.hide_accelerators()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KINETO_LOG_LEVEL", "3")  # PyTorch's profiler
if TASK["measure"] == "memory":
    os.environ["TF_CPU_ALLOCATOR_USE_BFC"] = "1"  # the one that counts; see memory.py
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# The imports below read the variables above.
import candidates  # noqa: E402
import keras  # noqa: E402
import memory  # noqa: E402
import processes  # noqa: E402
import steps  # noqa: E402

WARM_UP = 15  # inhibition starts after 10 batches, the authors' module after 11
EXTRAS_EVERY = 4  # rounds: k=50 is slow


def main() -> None:
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # the authors'
    found = []
    for shape in map(tuple, TASK["shapes"]):
        chosen = candidates.layers(shape, TASK["reference"], TASK["extras"])
        batches = steps.batches(shape, TASK["seed"])
        if TASK["measure"] == "memory":
            values = {
                name: memory.peak(make, batches, TASK["jit"])
                for name, make in chosen.items()
            }
        else:
            values = times(chosen, batches)
        found.append({"shape": shape, "values": values})
    about = processes.about(keras.backend.backend(), steps.mode(TASK["jit"]))
    print(json.dumps({"about": about, "shapes": found}))


def times(chosen: dict, batches: list) -> dict:
    """Median time of each layer, and medians of its ratios to others round by round."""
    made = {name: steps.Step(make(), TASK["jit"]) for name, make in chosen.items()}
    for step in made.values():
        for i in range(WARM_UP):
            step(*batches[i % len(batches)])
    seconds = interleaved(made, batches)
    for name, step in made.items():
        candidates.check_that_it_worked(name, step, *batches[0])
    return {
        name: {
            "ms": 1e3 * statistics.median(mine.values()),
            "ratio_to": {
                base: statistics.median(s / seconds[base][i] for i, s in mine.items())
                for base in candidates.BASES
                if base in made
            },
        }
        for name, mine in seconds.items()
    }


def interleaved(made: dict, batches: list) -> dict:
    """Seconds by layer and round.

    A round runs every layer once on the same batch, in an order drawn anew. The time
    ends when results are ready and freed again.
    """
    draw = random.Random(TASK["seed"])
    seconds: dict = {name: {} for name in made}
    gc.collect()
    gc.disable()
    for i in range(TASK["repeats"]):
        order = [n for n in made if n not in candidates.EXTRAS or i % EXTRAS_EVERY == 0]
        draw.shuffle(order)
        for name in order:
            start = time.perf_counter()
            made[name](*batches[i % len(batches)])
            seconds[name][i] = time.perf_counter() - start
    gc.enable()
    return seconds


if __name__ == "__main__":
    main()
