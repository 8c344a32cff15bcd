"""A small vision transformer and a small convolutional network, 8 x 8 grey images."""

import keras
from keras import layers

from evidence.transformer import Positions, blocks


def vision_transformer(classes: int, head: str, width: int, depth: int) -> keras.Model:
    """Patches of 2 x 2, so 16 tokens; `mlp_I` and `block_I` of block I."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(width, 2, strides=2, name="patches")(inputs)
    x = layers.Reshape((16, width), name="tokens")(x)
    x = Positions(name="positions")(x)
    x = blocks(x, depth, width, heads=4, ratio=2)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name=head)(x))


def convolutional_network(
    classes: int, head: str, width: int, depth: int, normalized: bool = False
) -> keras.Model:
    """`depth` convolutions with ReLU, `block_I`, halved in size after the second.

    `normalized`: with batch normalization before each ReLU. Its moving statistics
    follow in some ten steps: Keras' momentum is for trainings of thousands.
    """
    inputs = x = keras.Input((8, 8, 1))
    for i in range(depth):
        strides = 2 if i == 2 else 1
        x = layers.Conv2D(
            width,
            3,
            strides=strides,
            padding="same",
            activation=None if normalized else "relu",
            name=f"convolution_{i}" if normalized else f"block_{i}",
        )(x)
        if normalized:
            x = layers.BatchNormalization(momentum=0.9, name=f"normalization_{i}")(x)
            x = layers.ReLU(name=f"block_{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name=head)(x))


def perceptron(classes: int, head: str, widths: tuple[int, ...]) -> keras.Model:
    """Dense layers with ReLU, `block_I`, on the flattened image."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten(name="pixels")(inputs)
    for i, width in enumerate(widths):
        x = layers.Dense(width, activation="relu", name=f"block_{i}")(x)
    return keras.Model(inputs, layers.Dense(classes, name=head)(x))
