"""One backend's part: `python worker.py FOLDER` with KERAS_BACKEND set.

The first backend to run in a folder finds no data there; it leads: it writes the data,
the first weights, and everything that its model held before each step. The others
start from these files. Each writes what it measured to `FOLDER/BACKEND/`.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import networks
import numpy as np
from networks import Arrays

FIT_K = 1
STEP_K = 50


def main(folder: Path) -> None:
    backend = folder / keras.config.backend()
    backend.mkdir()
    for network in networks.NETWORKS:
        data = _shared(folder / f"{network}-data.npz", lambda n=network: _start(n))
        start = {p.removeprefix("start/"): v for p, v in data.items() if "start/" in p}
        np.savez(backend / f"{network}-fit.npz", **fit(network, data, start))
        for step, result in enumerate(steps(folder, network, data, start)):
            np.savez(backend / f"{network}-step-{step}.npz", **result)


def fit(network: str, data: Arrays, start: Arrays) -> Arrays:
    """20 steps of `fit`, and how far inhibition moved the weights in them."""
    model = _fitted(networks.make(network, FIT_K), data, start)
    statistics, weights = networks.statistics_and_weights(model)
    never = networks.make(network, FIT_K, start_step=networks.STEPS + 1)
    plain = networks.statistics_and_weights(_fitted(never, data, start))[1]
    return {
        **_under("statistics", statistics),
        **_under("weights", weights),
        **_under("plain", plain),
        "outputs/test": model.predict(data["x_test"], verbose=0),
        "selected": _selection(model, data["x_test"]),
    }


def steps(folder: Path, network: str, data: Arrays, start: Arrays) -> Any:
    """φ, the selection and the state after it, step by step from the same values."""
    model = networks.make(network, STEP_K)
    networks.restore(model, start)
    for step in range(networks.STEPS):
        before = _shared(
            folder / f"{network}-before-{step}.npz", lambda: networks.values(model)
        )
        networks.restore(model, before)
        batch = slice(step * networks.BATCH, (step + 1) * networks.BATCH)
        x, y = data["x"][batch], data["y"][batch]
        z = model.get_layer(networks.HIDDEN)(x)
        phi = model.get_layer(networks.INHIBITION).score(z)
        selected = _selection(model, x)
        networks.restore(model, before)
        model.train_on_batch(x, y)
        statistics, weights = networks.statistics_and_weights(model)
        yield {
            "phi": keras.ops.convert_to_numpy(phi),
            "selected": selected,
            **_under("statistics", statistics),
            **_under("weights", weights),
        }


def _start(network: str) -> Arrays:
    """Data and first weights, which the leader draws."""
    keras.utils.set_random_seed(0)
    model = networks.make(network, FIT_K)
    return {
        **networks.digits(network),
        **_under("start", networks.values(model)),
    }


def _shared(path: Path, make: Any) -> Arrays:
    """The leader's file; the leader writes it first and reads it like the others."""
    if not path.exists():
        np.savez(path, **make())
    with np.load(path) as file:
        return dict(file)


def _fitted(model: Any, data: Arrays, start: Arrays) -> Any:
    networks.restore(model, start)
    model.fit(data["x"], data["y"], batch_size=networks.BATCH, shuffle=False, verbose=0)
    return model


def _selection(model: Any, x: np.ndarray) -> np.ndarray:
    """Which activations the layer replaces in training: those that it changes.

    Moves the layer's state. An activation that equals its mean has φ = 0 and is never
    selected, so that a selected one always changes.
    """
    z = model.get_layer(networks.HIDDEN)(x)
    out = model.get_layer(networks.INHIBITION)(z, training=True)
    changed: np.ndarray = keras.ops.convert_to_numpy(out != z)
    return changed


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
