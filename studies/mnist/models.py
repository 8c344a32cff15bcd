"""Small networks for 28 x 28 grey images, with names for a method's places."""

import keras
import numpy as np
from keras import layers

from evidence.transformer import Positions, blocks
from mnist.data import LEAKED, SIZE


def vision_transformer(width: int, depth: int) -> keras.Model:
    """Patches of 7 x 7, so 16 tokens; `mlp_I` and `block_I` of block I."""
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Conv2D(width, 7, strides=7, name="patches")(inputs)
    x = layers.Reshape((16, width), name="tokens")(x)
    x = Positions(name="positions")(x)
    x = blocks(x, depth, width, heads=4, ratio=2)
    x = layers.Flatten(name="all")(x)
    return keras.Model(inputs, layers.Dense(10, name="digit")(x))


def convolutional_network(width: int, normalized: bool) -> keras.Model:
    """Four convolutions with ReLU, `block_I`; the first two halve the size.

    `normalized`: with batch normalization before each ReLU. Its moving statistics
    follow in some ten steps: Keras' momentum is for trainings of thousands.
    """
    inputs = x = keras.Input((SIZE, SIZE, 1))
    for i in range(4):
        x = layers.Conv2D(
            width,
            3,
            strides=2 if i < 2 else 1,
            padding="same",
            use_bias=not normalized,
            name=f"convolution_{i}",
        )(x)
        if normalized:
            x = layers.BatchNormalization(momentum=0.9, name=f"normalization_{i}")(x)
        x = layers.ReLU(name=f"block_{i}")(x)
    x = layers.Flatten(name="all")(x)
    return keras.Model(inputs, layers.Dense(10, name="digit")(x))


def planted() -> keras.Model:
    """Two dense layers; the first neuron of the first sees the pixel that leaks."""
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Flatten(name="pixels")(inputs)
    x = layers.Dense(64, activation="relu", name="block_0")(x)
    x = layers.Dense(32, activation="relu", name="block_1")(x)
    model = keras.Model(inputs, layers.Dense(LEAKED + 1, name="digit")(x))
    first = model.get_layer("block_0")
    kernel = np.array(keras.ops.convert_to_numpy(first.kernel))
    kernel[:, 0] *= 0.1
    kernel[0, 0] = 10.0
    first.kernel.assign(kernel)
    return model
