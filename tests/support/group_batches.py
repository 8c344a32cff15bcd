"""Batches of each rank and the layers that see them, in tests of process groups."""

import keras
import numpy as np
import torch

import keras_mono as km

RANKS, STEPS, ROWS, UNITS = 4, 6, 8, 5


def data(rank, whole=False):
    """The batches of a rank, far from those of the others; some are smaller."""
    random = np.random.default_rng(rank)
    return [
        torch.tensor(random.normal(rank, size=(rows, UNITS))).float()
        for rows in (ROWS - (not whole) * (step % 3) for step in range(STEPS))
    ]


def together(ranks, whole=False):
    """The global batches of some ranks."""
    parts = [data(rank, whole) for rank in sorted(ranks)]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


def layer(cls=km.layers.MonosemanticInhibition, select=0.2, **options):
    return cls(select=select, axis=-1, start_step=2, **options)


PULLING = {
    "pulled": lambda: layer(gradient="scale_invariant"),
    "relative": lambda: layer(km.layers.MonosemanticPenalty, form="relative", weight=1),
}


def knowledge_after_fit(batches):
    """Kernel and statistics of a model after `fit` on batches of one size."""
    x = keras.Input((UNITS,))
    dense = keras.layers.Dense(
        UNITS, use_bias=False, kernel_initializer="identity", name="hidden"
    )
    h = dense(x)
    layers = [layer(), layer(km.layers.MonosemanticPenalty, weight=0.1)]
    model = keras.Model(x, keras.layers.Add()([each(h) for each in layers]))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    rows = np.concatenate([batch.numpy() for batch in batches])
    size = len(batches[0])
    model.fit(rows, 0.0 * rows, batch_size=size, shuffle=False, verbose=0)
    found = {"kernel": dense.kernel}
    for each in layers:
        kept = {f"{type(each).__name__} {v.name}": v for v in each.saved_variables()}
        found |= kept
    return {name: keras.ops.convert_to_numpy(v) for name, v in found.items()}
