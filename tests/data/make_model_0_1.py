"""Made model_0_1.keras and model_0_1.npz, once, with keras_mono 0.1 on JAX.

With Keras 3.10.0, older than any that keras_mono 0.1 supports: Keras loads files of
older versions, not of newer ones.

Never run this again: the files show that every later version still loads what version
0.1 saved, and files of a later version would show nothing. A new format gets files and
a script of its own.
"""

from pathlib import Path

import keras
import numpy as np

import keras_mono as km

HERE = Path(__file__).parent


def main():
    path = HERE / "model_0_1.keras"
    if path.exists():
        raise SystemExit(f"{path.name} exists and must never be made again.")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            keras.layers.Dense(5, activation="relu", name="dense"),
            km.layers.MonosemanticScale(axis=-1, name="scale"),
            km.layers.MonosemanticInhibition(
                select=km.selectors.TopK(2, per="position"),
                strength=5.0,
                forget_steps=4,
                start_step=3,
                variance_compensation=0.02,
                name="inhibition",
            ),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.05), "mse")
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(38, 4, 3)).astype("float32")
    y = rng.normal(size=(38, 4, 2)).astype("float32")
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    probe = x[:8]
    kept = {"x": probe, "inference": model.predict(probe, verbose=0)}
    for name in ("scale", "inhibition"):
        for variable in model.get_layer(name).variables:
            value = keras.ops.convert_to_numpy(variable)
            kept[f"state/{name}/{variable.name}"] = value
    model.save(path)
    # Last, since it moves the state: the fixture holds the state from before.
    kept["training"] = keras.ops.convert_to_numpy(model(probe, training=True))
    for name in ("scale", "inhibition"):
        for variable in model.get_layer(name).variables:
            value = keras.ops.convert_to_numpy(variable)
            kept[f"state_after/{name}/{variable.name}"] = value
    np.savez_compressed(HERE / "model_0_1.npz", **kept)


if __name__ == "__main__":
    main()
