"""Long trainings need no more memory than short ones."""

import gc
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import settings

import keras_mono as km

STEPS = 1_000 if settings.default.max_examples < 1_000 else 100_000
MEBIBYTE = 2**20


def resident():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux' /proc")
@pytest.mark.support("long trainings without growth of memory")
def test_memory_does_not_grow():
    model = keras.Sequential(
        [
            keras.Input((16,)),
            keras.layers.Dense(1024),
            km.layers.MonosemanticInhibition(2, start_step=1),
            km.layers.MonosemanticInhibition(0.02, start_step=1),
            km.layers.MonosemanticPenalty(0.01, start_step=1),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    x = np.random.default_rng(0).normal(size=(8 * STEPS // 10, 16)).astype("float32")
    model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0)
    before = resident()
    model.fit(x, x[:, :1], batch_size=8, epochs=8, verbose=0)
    # An activation kept a step would be 32 KiB: 25 MiB and more.
    assert resident() - before < 10
