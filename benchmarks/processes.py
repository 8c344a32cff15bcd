"""Fresh processes that measure, and what is said about the machine they ran on."""

import gc
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import devices

HERE = Path(__file__).parent
PACKAGES = {
    "jax": ["jax", "jaxlib"],
    "torch": ["torch"],
    "tensorflow": ["tensorflow-cpu", "tensorflow"],
}


def say(what: str) -> None:
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


def run(script: str, task: dict) -> dict:
    """What `script`, beside this file, prints as JSON in its last line."""
    command = [sys.executable, str(HERE / script), json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"A measuring process ended with status {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(steps: dict[str, Callable], rounds: int, seed: int) -> dict:
    """Seconds by name and round; a round runs every step once, in a new order.

    Garbage is collected between the steps, so that none pays for another's.
    """
    gc.collect()
    gc.freeze()  # what is there stays: the collections that follow are short
    gc.disable()
    draw = random.Random(seed)
    seconds: dict = {name: [] for name in steps}
    for _ in range(rounds):
        order = list(steps)
        draw.shuffle(order)
        for name in order:
            gc.collect()
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
    gc.enable()
    gc.unfreeze()
    return seconds


def about(backend: str, mode: str) -> dict:
    versions = {"python": platform.python_version()}
    for package in ["keras", "numpy", *PACKAGES[backend]]:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "backend": backend,
        "mode": mode,
        "versions": versions,
        "machine": machine(),
        "accelerator": devices.accelerator(),
        "cpus": f"{usable_cpus()} of {os.cpu_count()} CPUs",
        "load": round(os.getloadavg()[0], 1),
    }


def usable_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {platform.platform()}"
