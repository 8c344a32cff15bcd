"""Transformer blocks with names that say where a method's layers go."""

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="evidence")
class Positions(layers.Layer):
    """Adds what a position means."""

    supports_masking = True

    def build(self, shape):
        # Made here: an initializer draws its own seed when it is made.
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=shape[1:], initializer=start, name="table")

    def call(self, x):
        return x + self.table


def blocks(x, number, width, heads, ratio=4, causal=False):
    """`number` pre-norm blocks: hidden units `mlp_I`, outputs `block_I`."""
    for i in range(number):
        normal = layers.LayerNormalization(name=f"attention_norm_{i}")(x)
        attention = layers.MultiHeadAttention(
            heads, width // heads, name=f"attention_{i}"
        )
        seen = attention(normal, normal, use_causal_mask=causal)
        x = layers.Add(name=f"attended_{i}")([x, seen])
        normal = layers.LayerNormalization(name=f"mlp_norm_{i}")(x)
        hidden = layers.Dense(ratio * width, "gelu", name=f"mlp_{i}")(normal)
        hidden = layers.Dense(width, name=f"mlp_out_{i}")(hidden)
        x = layers.Add(name=f"block_{i}")([x, hidden])
    return layers.LayerNormalization(name="last_norm")(x)
