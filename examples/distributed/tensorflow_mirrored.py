"""Train on several devices with TensorFlow: `fit` under a `MirroredStrategy`.

    KERAS_BACKEND=tensorflow python examples/distributed/tensorflow_mirrored.py

Uses every GPU; without one, the CPU as 2 devices. Make the model under the strategy's
scope; the layers then add up what the replicas see, and all know the same.
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_mono as km

TRAINING = 1500


def strategy():
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main():
    devices = strategy()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = x.astype("float32") / 16
    with devices.scope():
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
    model.fit(x[:TRAINING], y[:TRAINING], batch_size=64, epochs=10, verbose=0)
    _, accuracy = model.evaluate(x[TRAINING:], y[TRAINING:], verbose=0)
    print(km.status(model))
    copies = model.get_layer("inhibition").mean.value.values  # one a replica
    same = all(np.array_equal(copies[0], copy) for copy in copies)
    print(f"{len(copies)} replicas, the same mean on each: {same}")
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
