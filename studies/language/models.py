"""Byte-level transformers: an encoder that may see all, and a causal one."""

import keras
from keras import layers

from evidence.transformer import Positions, blocks
from language.data import PHRASE, VOCABULARY


def encoder(outputs: int, head: str, width: int, depth: int) -> keras.Model:
    """Phrases; padding is masked. `head` "byte" predicts every byte, else a class."""
    inputs = keras.Input((PHRASE,), dtype="int32")
    x = layers.Embedding(VOCABULARY, width, mask_zero=True, name="bytes")(inputs)
    x = Positions(name="positions")(x)
    x = blocks(x, depth, width, heads=4)
    if head != "byte":
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(outputs, name=head)(x))


def causal(length: int, width: int, depth: int) -> keras.Model:
    """The next byte from those before."""
    inputs = keras.Input((length,), dtype="int32")
    x = layers.Embedding(VOCABULARY, width, name="bytes")(inputs)
    x = Positions(name="positions")(x)
    x = blocks(x, depth, width, heads=4, causal=True)
    return keras.Model(inputs, layers.Dense(VOCABULARY, name="next")(x))


def recurrent(outputs: int, head: str, width: int) -> keras.Model:
    """Phrases, by two GRUs, `block_0` and `block_1`; padding is masked."""
    inputs = keras.Input((PHRASE,), dtype="int32")
    x = layers.Embedding(VOCABULARY, width, mask_zero=True, name="bytes")(inputs)
    for i in range(2):
        x = layers.GRU(width, return_sequences=True, name=f"block_{i}")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(outputs, name=head)(x))
