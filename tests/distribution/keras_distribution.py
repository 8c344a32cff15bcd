"""Keras' own `fit` in 4 processes, under each `keras.distribution` (PyTorch).

    python keras_distribution.py FOLDER 4

Each process saves what a model knows, by case and name: see `forks`.
"""

from keras import distribution

from support import forks
from support.group_batches import RANKS, data, knowledge_after_fit


def find(rank):
    devices = [f"cpu:{i}" for i in range(RANKS)]
    found = fitted("none", None, rank)
    found |= fitted("all", data_parallel(devices), rank)
    # Two jobs side by side, which have to make each other's mesh, too.
    pairs = [data_parallel(devices[i : i + 2]) for i in (0, 2)]
    for pair in pairs:
        _ = pair.device_mesh.backend_mesh
    found |= fitted("pairs", pairs[rank // 2], rank)
    mesh = distribution.DeviceMesh((2, 2), ["batch", "model"], devices)
    layout = distribution.LayoutMap(mesh)
    layout["hidden/kernel"] = (None, "model")
    split = distribution.ModelParallel(
        layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False
    )
    found |= fitted("mesh", split, rank // 2)
    return found


def data_parallel(devices):
    return distribution.DataParallel(devices=devices, auto_shard_dataset=False)


def fitted(case, chosen, part):
    """What a model knows after `fit` on a rank's part of the data."""
    distribution.set_distribution(chosen)
    found = knowledge_after_fit(data(part, whole=True))
    distribution.set_distribution(None)
    return {f"{case} {name}": value for name, value in found.items()}


if __name__ == "__main__":
    forks.run(find)
