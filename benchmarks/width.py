"""Time of the layers against the number of neurons, 10³ to 10⁷.

    KERAS_BACKEND=jax python benchmarks/width.py [--check]

Forward and backward pass of one training step, batch of 4, one neuron a channel. glibc
is told to keep memory that is freed: else every tensor of more than 32 MB is mapped
anew, page by page, which takes longer than what a layer does with it, whatever layer it
is. `--default-allocator` measures that.
"""

import argparse
import gc
import os
import statistics
import sys
from pathlib import Path

import devices

KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36)}
AS_IT_IS = "--default-allocator"
if AS_IT_IS not in sys.argv and not KEEP.items() <= os.environ.items():
    # glibc reads them when a process starts.
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP})
devices.hide_accelerators()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402
import steps  # noqa: E402

import keras_mono as km  # noqa: E402


class Scaled(keras.layers.Layer):
    """The least that a layer can do: read, multiply, write. What memory costs."""

    def call(self, x, training=None):  # noqa: ARG002
        return x * 1.5


WIDTHS = (10**3, 10**4, 10**5, 10**6, 10**7)
LAYERS = {
    "x * 1.5": Scaled,
    "top-1": lambda: km.layers.MonosemanticInhibition(axis=-1, start_step=2),
    "threshold 0.02": lambda: km.layers.MonosemanticInhibition(
        0.02, axis=-1, start_step=2
    ),
    "penalty": lambda: km.layers.MonosemanticPenalty(start_step=2, form="l2e"),
    "relative": lambda: km.layers.MonosemanticPenalty(start_step=2),
}
LIMIT = 12.0  # 10⁷ neurons against 10⁶


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(AS_IT_IS, action="store_true", help="freed memory goes back")
    parser.add_argument("--check", action="store_true", help="status 1 if missed")
    given = parser.parse_args()
    ms: dict = {name: {} for name in LAYERS}
    for width in WIDTHS:
        batches = steps.batches((4, width), seed=0, count=2)
        for name, make in LAYERS.items():
            step = steps.Step(make(), jit=False)
            seconds = processes.interleaved(
                {"": lambda step=step, b=batches: step(*b[step.calls % 2])},
                given.rounds + 4,
                seed=0,
            )[""]
            ms[name][width] = 1e3 * statistics.median(seconds[4:])
            del step
            gc.collect()
    backend = keras.config.backend()
    about = processes.about(backend, "")
    memory = "goes back to the system" if given.default_allocator else "is kept"
    print(
        f"Forward and backward pass on {backend}, batch of 4, ms by neurons; freed "
        f"memory {memory}"
    )
    about = {**about, "load": [about["load"]], "date": report.now(), "processes": 1}
    print("\n".join(report.about_lines(about)[:2]))
    grows = {name: found[10**7] / found[10**6] for name, found in ms.items()}
    rows = [["layer", *(f"{w:,}" for w in WIDTHS), "10⁷ / 10⁶", ""]]
    for name, found in ms.items():
        ours = name != "x * 1.5"
        verdict = ("OK" if grows[name] <= LIMIT else "MISSED") if ours else ""
        times = [f"{found[w]:.2f}" for w in WIDTHS]
        rows.append([name, *times, f"{grows[name]:.1f}", verdict])
    print("\n".join(report.aligned(rows)))
    missed = [n for n, x in grows.items() if x > LIMIT and n != "x * 1.5"]
    return 1 if given.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
