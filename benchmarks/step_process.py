"""One process of step.py: times training steps of transformers; prints JSON.

Started by step.py, with its task as JSON in the first argument.
"""

import json
import os
import statistics
import sys
from pathlib import Path

TASK = json.loads(sys.argv[1])
if not TASK["accelerator"]:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# The imports below read the variables above.
import keras  # noqa: E402
import numpy as np  # noqa: E402
import processes  # noqa: E402

import keras_mono as km  # noqa: E402

VOCABULARY = 256
WARM_UP = 4  # selection starts after 2 steps
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


def main() -> None:
    keras.config.set_dtype_policy(TASK["dtype"])
    models = {"plain": transformer("plain", "block")}
    for place in TASK["places"]:
        for method in TASK["methods"]:
            models[f"{method}, {place}"] = transformer(method, place)
    draw = np.random.default_rng(TASK["seed"])
    shape = (TASK["batch"], TASK["length"])
    x, y = draw.integers(VOCABULARY, size=(2, *shape)).astype("int32")
    steps = {name: lambda m=m: m.train_on_batch(x, y) for name, m in models.items()}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    seconds = processes.interleaved(steps, TASK["rounds"], TASK["seed"])
    for name, model in models.items():
        check_that_it_worked(name, model)
    plain = seconds["plain"]
    values = {
        name: {
            "ms": 1e3 * statistics.median(mine),
            "ratio": statistics.median(a / b for a, b in zip(mine, plain, strict=True)),
        }
        for name, mine in seconds.items()
    }
    backend = keras.backend.backend()
    about = processes.about(backend, f"Keras' train_on_batch, {TASK['dtype']}")
    print(json.dumps({"about": about, "values": values}))


def transformer(method: str, place: str) -> keras.Model:
    """12 pre-norm blocks that predict the next token; our layers in blocks 4 to 7."""
    keras.utils.set_random_seed(TASK["seed"])
    make, width = LAYERS[method], TASK["width"]
    tokens = keras.Input((TASK["length"],), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, width)(tokens)
    for block in range(TASK["blocks"]):
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


def check_that_it_worked(name: str, model: keras.Model) -> None:
    """Stop if a layer of ours lost a step, or its threshold selected nothing."""
    expected = WARM_UP + TASK["rounds"]
    ours = [x for x in model.layers if isinstance(x, km.layers.SelectingLayer)]
    if len(ours) != (0 if name == "plain" else 4):
        raise SystemExit(f"{name} has {len(ours)} layers of ours.")
    for layer in ours:
        share = layer.selector_state.get("share", 0.02)
        if int(layer.step) != expected or not 0.002 < share < 0.2:
            raise SystemExit(f"{name}: step {int(layer.step)}, share {share}.")


if __name__ == "__main__":
    main()
