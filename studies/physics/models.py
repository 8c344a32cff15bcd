"""Nowcasting: an encoder and a forecaster of convolutional GRUs."""

import keras
from keras import layers, ops

import keras_mono as km
from physics.data import AHEAD, SEEN


def nowcaster(size: int, filters: int, inhibition=None) -> keras.Model:
    """Five frames to twenty, by two GRUs, `block_0` and `block_1`.

    `inhibition` acts on the candidate states of both.
    """

    def recurrent(name, **options):
        own = inhibition and type(inhibition).from_config(
            {**inhibition.get_config(), "name": f"{name}_inhibition"}
        )
        return km.layers.ConvGRU2D(
            filters, 3, padding="same", inhibition=own, name=name, **options
        )

    inputs = keras.Input((SEEN, size, size, 1))
    smaller = layers.Conv2D(
        filters // 2,
        3,
        strides=2,
        padding="same",
        activation="leaky_relu",
        name="to_half",
    )
    x = layers.TimeDistributed(smaller, name="smaller")(inputs)
    state = recurrent("block_0")(x)
    last = ops.repeat(x[:, -1:], AHEAD, axis=1)
    x = recurrent("block_1", return_sequences=True)(last, initial_state=[state])
    larger = layers.Conv2DTranspose(
        filters // 2,
        4,
        strides=2,
        padding="same",
        activation="leaky_relu",
        name="to_whole",
    )
    x = layers.TimeDistributed(larger, name="larger")(x)
    frame = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="pixel")
    return keras.Model(inputs, layers.TimeDistributed(frame, name="frame")(x))
