"""Train on several devices with JAX: `fit`, batches shared by all of them.

    KERAS_BACKEND=jax python examples/distributed/jax_data_parallel.py [DEVICES]

Uses every accelerator; without one, the CPU as 4 (or DEVICES) devices. Nothing in the
model changes: arrays are the whole batch to JAX, so the statistics are global.
"""

import os
import sys

import keras
from sklearn.datasets import load_digits

import keras_mono as km

BATCH, TRAINING = 64, 24 * 64  # every batch must divide over the devices


def main():
    cpus = sys.argv[1] if len(sys.argv) > 1 else "4"
    # Before JAX looks for devices; without effect on accelerators.
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={cpus}"
    keras.utils.set_random_seed(0)
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices)
    )
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            km.layers.MonosemanticInhibition(name="inhibition"),
            km.layers.MonosemanticPenalty(name="penalty"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x[:TRAINING], y[:TRAINING], batch_size=BATCH, epochs=10, verbose=0)
    held_out = slice(TRAINING, TRAINING + 4 * BATCH)
    _, accuracy = model.evaluate(x[held_out], y[held_out], batch_size=BATCH, verbose=0)
    print(km.status(model))
    print(f"{len(devices)} devices, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
