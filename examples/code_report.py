"""Which neurons of a small language model know one code language, with and without L2E.

    KERAS_BACKEND=jax python examples/code_report.py [--steps 250] [--out report.html]

Trains two byte-level causal transformers on source code that is installed on this
machine, from the same start and on the same batches: plain, and with L2E's penalty on
the hidden units of the middle blocks. Then it writes a page that compares what their
neurons answer to. Under 3 minutes on two cores; needs the extra `analysis`.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers, ops

import keras_mono as km

LENGTH, WIDTH, BLOCKS, BATCH = 64, 64, 4, 32
VOCABULARY = 257  # 256 bytes and padding
WEIGHT = 0.003  # ten times as much keeps this model from learning


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--texts", type=int, default=600, help="most of a language")
    parser.add_argument("--out", default="report.html")
    return parser.parse_args()


@keras.saving.register_keras_serializable(package="code_report")
class Positions(layers.Layer):
    """Adds what a position means."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x):
        return x + self.table


def language_model(with_penalty):
    """Next byte from the ones before; `mlp_I` are the hidden units of block I."""
    inputs = keras.Input((LENGTH,), dtype="int32")
    x = Positions()(layers.Embedding(VOCABULARY, WIDTH)(inputs))
    for block in range(BLOCKS):
        normal = layers.LayerNormalization()(x)
        attention = layers.MultiHeadAttention(4, WIDTH // 4)
        x = layers.Add()([x, attention(normal, normal, use_causal_mask=True)])
        normal = layers.LayerNormalization()(x)
        hidden = layers.Dense(4 * WIDTH, "gelu", name=f"mlp_{block}")(normal)
        if with_penalty and block in (1, 2):
            penalty = km.layers.MonosemanticPenalty(
                WEIGHT, axis=-1, form="l2e", name=f"l2e_{block}"
            )
            hidden = penalty(hidden)
        x = layers.Add()([x, layers.Dense(WIDTH)(hidden)])
    outputs = layers.Dense(VOCABULARY)(layers.LayerNormalization()(x))
    return keras.Model(inputs, outputs)


def trained(with_penalty, x, steps):
    keras.utils.set_random_seed(0)
    model = language_model(with_penalty)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    rows = np.random.default_rng(0).integers(len(x), size=steps * BATCH)
    model.fit(x[rows, :-1], x[rows, 1:], batch_size=BATCH, shuffle=False, verbose=0)
    return model


def bits_per_byte(model, x):
    """On held-out code."""
    logits = model.predict(x[:, :-1], batch_size=64, verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(
        x[:, 1:], logits, from_logits=True
    )
    return float(ops.mean(loss)) / np.log(2)


def main():
    given = arguments()
    start = time.perf_counter()
    code = km.analysis.code_languages(
        {"python": [".py"], "c": [".h"], "fortran": [".f", ".f90"], "json": [".json"]},
        length=LENGTH + 1,
        most=given.texts,
    )
    x = code.as_bytes(LENGTH + 1)
    held_out = len(x) // 4
    models = {}
    for name, with_penalty in {"plain": False, "L2E": True}.items():
        models[name] = trained(with_penalty, x[held_out:], given.steps)
        bits = bits_per_byte(models[name], x[:held_out])
        print(f"{name}: {bits:.2f} bits per byte on held-out code")
    path = km.analysis.report(
        models,
        x[:held_out, :-1],
        code.labels[:held_out],
        [f"mlp_{block}" for block in range(BLOCKS)],
        given.out,
        title="What a small language model's neurons answer to in code",
        verbose=0,
        shown=code.byte_pieces(LENGTH)[:held_out],
    )
    print(f"wrote {path} after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
