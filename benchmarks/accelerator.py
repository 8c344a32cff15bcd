"""What our layers cost on an accelerator, alone and in a transformer, with a profile.

    KERAS_BACKEND=torch python benchmarks/accelerator.py [--large] [--json FILE]
    KERAS_BACKEND=jax python benchmarks/accelerator.py

Prints the time of a training call of each layer, eager and compiled, beside
BatchNormalization's, how many kernels it starts, how long the device works, and how
often the host waits for a number. README.md beside this file says how it is measured.
"""

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]

import device_profile  # noqa: E402
import keras  # noqa: E402
import memory  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402
import step as of_transformer  # noqa: E402
import steps  # noqa: E402
from candidates import Copy  # noqa: E402
from transformer import batch, train, transformer  # noqa: E402

import keras_mono as km  # noqa: E402
from support.counted_layers import FEW, SHAPE  # noqa: E402

LARGE_SHAPE = (64, 512, 1024)
CALLS = 32  # of them a threshold searches in one
WARM_UP = 12
PROFILED_STEPS = 4
METHODS = ("plain", "top-1", "threshold 0.02", "penalty", "relative")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--large", action="store_true", help=f"{[*LARGE_SHAPE]} too, and a wide model")
    add("--only", choices=("layers", "steps"), help="one of the two tables")
    add("--rounds", type=int, default=15, help="times of each layer (default 15)")
    add("--no-compile", action="store_true", help="PyTorch: eager layers only")
    add("--json", type=Path, help="write everything measured to this file")
    if steps.BACKEND == "tensorflow":
        parser.error("no device of TensorFlow's is waited for: set KERAS_BACKEND.")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    both = steps.BACKEND == "torch" and not given.no_compile
    ways = (False, True) if both else (False,)
    about = processes.about(keras.config.backend(), "")
    about |= {"load": [about["load"]], "date": report.now(), "processes": 1}
    print("\n".join(report.about_lines(about)[:2]), flush=True)
    found: dict[str, Any] = {"about": about, "layers": [], "steps": []}
    if given.only != "steps":
        for shape in (SHAPE, LARGE_SHAPE) if given.large else (SHAPE,):
            rows = of_layers(shape, given.rounds, ways)
            found["layers"].append({"shape": shape, "rows": rows})
            print(f"\nA training call, {[*shape]}, float32\n")
            print("\n".join(report.aligned(layer_table(rows))), flush=True)
            save(given.json, found)
    if given.only != "layers":
        size = of_transformer.LARGE if given.large else of_transformer.SMALL
        found["size"] = size
        print(
            f"\nA training step, 12 blocks, width {size['width']}, length "
            f"{size['length']}, batch {size['batch']}, {size['dtype']}; our layers "
            "behind the hidden units of 4 MLPs\n"
        )
        keras.config.set_dtype_policy(size["dtype"])
        found["steps"] = [
            of_step(size, method, compiled)
            for method in METHODS
            for compiled in (ways if method != "plain" else (False,))
        ]
        print("\n".join(report.aligned(step_table(found["steps"]))))
        save(given.json, found)


def save(path: Path | None, found: dict[str, Any]) -> None:
    """After each table: the next may take minutes."""
    if path:
        path.write_text(json.dumps(found, indent=1) + "\n")


def candidates(ways: tuple[bool, ...]) -> dict[str, steps.Step]:
    """Each layer in each way: compiled or not."""
    makes = {"copy": Copy, "BatchNormalization": keras.layers.BatchNormalization}
    makes |= {str(case): case.make for case in FEW}
    return {
        f"{name}, compiled" if jit else name: steps.Step(make(), jit)
        for name, make in makes.items()
        for jit in ways
    }


def of_layers(
    shape: tuple[int, ...], rounds: int, ways: tuple[bool, ...]
) -> list[dict[str, Any]]:
    """Times interleaved, in an order drawn anew each round; then memory and kernels."""
    forget_graphs()
    made = candidates(ways)
    batches = steps.batches(shape, seed=0)

    def call(step: steps.Step, number: int) -> None:
        for i in range(number):
            step(*batches[i % len(batches)], wait=i == number - 1)

    for name, step in made.items():
        processes.say(name)
        call(step, WARM_UP + CALLS)
    draw, order = random.Random(0), list(made)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            start = time.perf_counter()
            call(made[name], CALLS)
            seconds[name].append((time.perf_counter() - start) / CALLS)
    rows = []
    for name, step in made.items():
        profiled = device_profile.traced(lambda step=step: call(step, CALLS)).per_call(
            CALLS
        )
        norm = zip(seconds[name], seconds["BatchNormalization"], strict=True)
        rows.append(
            {
                "name": name,
                "ms": 1e3 * statistics.median(seconds[name]),
                "to_norm": statistics.median(a / b for a, b in norm),
                "activations": memory.of(step, *batches[0]) / batches[0][0].nbytes,
                **figures(profiled),
            }
        )
    return rows


def figures(profiled: device_profile.Trace) -> dict[str, Any]:
    return {
        "kernels": profiled.kernels,
        "busy_ms": 1e3 * profiled.busy,
        "reads": profiled.reads,
        "read_by": profiled.read_by,
        "longest": [[k, 1e3 * s] for k, s in profiled.seconds.most_common(12)],
    }


def of_step(size: dict[str, Any], method: str, compiled: bool) -> dict[str, Any]:
    """Of a model alone: the median time of a step, and a profile of some."""
    name = f"{method}, compiled" if compiled else method
    processes.say(name)
    forget_graphs()
    model = transformer({**size, "seed": 0}, method, "MLP")
    if compiled:
        compile_ours(model)
    x, y = batch({**size, "seed": 0})
    seconds = []
    for _ in range(WARM_UP + CALLS):
        start = time.perf_counter()
        train(model, x, y)
        seconds.append(time.perf_counter() - start)
    profiled = device_profile.traced(
        lambda: [train(model, x, y) for _ in range(PROFILED_STEPS)]
    )
    return {
        "name": name,
        "ms": 1e3 * statistics.median(seconds[WARM_UP:]),
        **figures(profiled.per_call(PROFILED_STEPS)),
    }


def forget_graphs() -> None:
    """One process compiles more than PyTorch expects of one."""
    if steps.BACKEND == "torch":
        import torch

        torch.compiler.reset()
        torch._dynamo.config.recompile_limit = 64


def compile_ours(model: keras.Model) -> None:
    """Only this library's layers: the rest of the model stays eager."""
    import torch

    for layer in model.layers:
        if isinstance(layer, km.layers.SelectingLayer):
            layer.call = torch.compile(layer.call)


def layer_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    header = ["layer", "ms", "/ BatchNorm.", "device ms", "kernels", "reads", "memory"]
    body = [
        [
            row["name"],
            f"{row['ms']:.3f}",
            f"{row['to_norm']:.2f}",
            f"{row['busy_ms']:.3f}",
            f"{row['kernels']:.1f}",
            f"{row['reads']:.2f}",
            f"{row['activations']:.2f}",
        ]
        for row in rows
    ]
    return [header, *body]


def step_table(rows: list[dict[str, Any]]) -> list[list[str]]:
    plain = rows[0]
    header = ["method", "ms", "more, %", "device ms", "more, %", "kernels", "reads"]
    body = [
        [
            row["name"],
            f"{row['ms']:.1f}",
            _more(row["ms"], plain["ms"]),
            f"{row['busy_ms']:.1f}",
            _more(row["busy_ms"], plain["busy_ms"]),
            f"{row['kernels']:.0f}",
            f"{row['reads']:.1f}",
        ]
        for row in rows
    ]
    return [header, *body]


def _more(value: float, plain: float) -> str:
    return f"{100 * (value / plain - 1):.1f}" if plain else ""


if __name__ == "__main__":
    main()
