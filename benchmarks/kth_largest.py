"""The k-th largest of each row: this library's against `keras.ops.top_k`.

    KERAS_BACKEND=jax python benchmarks/kth_largest.py [--jit] [--check]

Both are compiled as `fit` compiles them, and run in turn on the same data. `--jit`:
with XLA on TensorFlow, which is what `fit` uses where there is an accelerator.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import processes
import report

import keras_mono as km

BACKEND = keras.config.backend()
# rows, n, k; the first is judged.
SIZES = (
    (32, 98304, 50),
    (32, 98304, 5),
    (32, 98304, 1000),
    (8, 32768, 50),
    (256, 1024, 50),
    (4096, 64, 5),
)
LIMIT = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jit", action="store_true", help="XLA on TensorFlow")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="status 1 if missed")
    given = parser.parse_args()
    mode = "XLA" if given.jit or BACKEND == "jax" else "no XLA"
    rows, ratio = [["rows", "n", "k", "ours, ms", "top_k, ms", "ratio"]], {}
    for size in SIZES:
        count, n, k = size
        x = np.random.default_rng(0).normal(size=(count, n)).astype("float32") ** 2
        x = keras.ops.convert_to_tensor(x)
        steps = {
            "ours": compiled(lambda x, k=k: km.ops.kth_largest(x, k), x, given.jit),
            "top_k": compiled(
                lambda x, k=k: keras.ops.min(
                    keras.ops.top_k(x, k, sorted=False)[0], axis=1, keepdims=True
                ),
                x,
                given.jit,
            ),
        }
        seconds = processes.interleaved(steps, given.rounds, seed=0)
        pairs = zip(seconds["ours"], seconds["top_k"], strict=True)
        ratio[size] = statistics.median(a / b for a, b in pairs)
        ms = [f"{1e3 * statistics.median(seconds[s]):.2f}" for s in steps]
        rows.append([*map(str, size), *ms, f"{ratio[size]:.3f}"])
    about = {**processes.about(BACKEND, mode), "processes": 1, "date": report.now()}
    about["load"] = [about["load"]]
    print(f"k-th largest of each row on {BACKEND}, {mode}")
    print("\n".join(report.about_lines(about)[:2]))
    print("\n".join(report.aligned(rows)))
    judged, limit = ratio[SIZES[0]], LIMIT
    kept = judged <= limit
    print(f"{SIZES[0]}: {judged:.3f}, limit {limit:g}: {'OK' if kept else 'MISSED'}")
    return 1 if given.check and not kept else 0


def compiled(function, x, jit):
    """A call without arguments that waits for the result; checked once."""
    if BACKEND == "jax":
        import jax

        run = jax.jit(function)
        return _warm(lambda: run(x).block_until_ready())
    if BACKEND == "tensorflow":
        import tensorflow as tf

        run = tf.function(function, autograph=False, jit_compile=jit)
        return _warm(lambda: run(x).numpy())
    return _warm(lambda: function(x).cpu())


def _warm(call):
    for _ in range(2):
        call()
    return call


if __name__ == "__main__":
    sys.exit(main())
