"""The transformer whose training steps are timed, plain and with our layers."""

import devices
import keras
import numpy as np

import keras_mono as km

VOCABULARY = 256
LAYERS = {
    "plain": None,
    "top-1": lambda: km.layers.MonosemanticInhibition(start_step=2),
    "top-50": lambda: km.layers.MonosemanticInhibition(50, start_step=2),
    "threshold 0.02": lambda: km.layers.MonosemanticInhibition(
        0.02, axis=-1, start_step=2
    ),
    "penalty": lambda: km.layers.MonosemanticPenalty(start_step=2, form="l2e"),
    "relative": lambda: km.layers.MonosemanticPenalty(start_step=2),
}


def transformer(task: dict, method: str, place: str) -> keras.Model:
    """12 pre-norm blocks that predict the next token; our layers in blocks 4 to 7.

    `task` holds its sizes, as in step.py.
    """
    keras.utils.set_random_seed(task["seed"])
    make, width = LAYERS[method], task["width"]
    tokens = keras.Input((task["length"],), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, width)(tokens)
    for block in range(task["blocks"]):
        ours = make if block in range(4, 8) else None
        attention = keras.layers.MultiHeadAttention(width // 64, 64)
        normal = keras.layers.LayerNormalization()(x)
        x = x + attention(normal, normal, use_causal_mask=True)
        hidden = keras.layers.LayerNormalization()(x)
        hidden = keras.layers.Dense(4 * width, activation="gelu")(hidden)
        if ours and place == "MLP":
            hidden = ours()(hidden)
        x = x + keras.layers.Dense(width)(hidden)
        if ours and place == "block":
            x = ours()(x)
    x = keras.layers.LayerNormalization()(x)
    logits = keras.layers.Dense(VOCABULARY, dtype="float32")(x)
    model = keras.Model(tokens, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-5), loss)
    return model


def batch(task: dict) -> np.ndarray:
    """Random tokens, and those to predict."""
    draw = np.random.default_rng(task["seed"])
    shape = (2, task["batch"], task["length"])
    return draw.integers(VOCABULARY, size=shape).astype("int32")


def train(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    """One step, until all of it is computed."""
    model.train_on_batch(x, y)
    devices.wait([v.value for v in model.variables])
