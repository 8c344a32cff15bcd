"""Peak memory and time of a profile of many inputs.

    KERAS_BACKEND=torch python benchmarks/analysis.py [--inputs N] [--no-measures]

A random layer turns inputs of 8 numbers into the neurons, so that the inputs themselves
take little room. README.md beside this file says how benchmarks are run.
"""

import argparse
import resource
import time

import keras
import numpy as np

import keras_mono as km


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--neurons", type=int, default=4096)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--no-measures", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(given.inputs, 8)).astype("float32")
    labels = rng.integers(given.features, size=given.inputs)
    layers = [keras.Input((8,)), keras.layers.Dense(given.neurons, name="neurons")]
    model = keras.Sequential(layers)
    model(x[:8])
    before = peak()
    start = time.process_time()
    found = km.analysis.profile(
        model,
        x,
        labels,
        ["neurons"],
        batch_size=1024,
        verbose=0,
        measures=not given.no_measures,
    )["neurons"]
    seconds = time.process_time() - start
    print(
        f"{found.inputs:,} inputs x {given.neurons:,} neurons, {given.features} "
        f"features: {seconds:.0f} s of CPU time; peak {peak():.2f} GiB, of which "
        f"{before:.2f} GiB before; K-S from {found.sampled:,} inputs, "
        f"±{found.ks_error:.3f}"
    )


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
