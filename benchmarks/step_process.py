"""One process of step.py: times training steps of transformers; prints JSON.

Started by step.py, with its task as JSON in the first argument.
"""

import json
import os
import statistics
import sys
from pathlib import Path

import devices

TASK = json.loads(sys.argv[1])
if not TASK["accelerator"]:
    devices.hide_accelerators()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# The imports below read the variables above.
import keras  # noqa: E402
import processes  # noqa: E402
from transformer import batch, train, transformer  # noqa: E402

import keras_mono as km  # noqa: E402

WARM_UP = 4  # selection starts after 2 steps


def main() -> None:
    keras.config.set_dtype_policy(TASK["dtype"])
    models = {"plain": transformer(TASK, "plain", "block")}
    for place in TASK["places"]:
        for method in TASK["methods"]:
            models[f"{method}, {place}"] = transformer(TASK, method, place)
    x, y = batch(TASK)
    steps = {name: lambda m=m: train(m, x, y) for name, m in models.items()}
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


def check_that_it_worked(name: str, model: keras.Model) -> None:
    """Stop if a layer of ours lost a step, or its threshold selected nothing."""
    expected = WARM_UP + TASK["rounds"]
    ours = [x for x in model.layers if isinstance(x, km.layers.SelectingLayer)]
    if len(ours) != (0 if name == "plain" else 4):
        raise SystemExit(f"{name} has {len(ours)} layers of ours.")
    for layer in ours:
        share = layer.selector_state.get("selected_fraction", 0.02)
        if int(layer.step) != expected or not 0.002 < share < 0.2:
            raise SystemExit(f"{name}: step {int(layer.step)}, share {share}.")


if __name__ == "__main__":
    main()
