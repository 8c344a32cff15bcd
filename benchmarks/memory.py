"""Peak memory of a step, beyond its inputs and the layer's weights, in bytes.

Counted, not sampled, since the resident size of a process is too coarse for an
activation of 1 MiB:

- JAX: XLA's own plan of the compiled step (`memory_analysis`): temporaries and outputs,
  without outputs that reuse a donated input.
- PyTorch: every allocation and release of its CPU allocator, from the profiler; on a
  GPU its allocator's own peak.
- TensorFlow: its BFC allocator, which counts the bytes in use and their peak. Kernels
  run in parallel and in varying order, so it is the median of nine steps.

Each counts differently, so compare layers within a backend.
"""

import gc
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from steps import BACKEND, Step

WARM_UP = 12  # inhibition starts after 10 batches, the authors' module after 11


def peak(make: Callable, batches: list, jit: bool) -> int:
    step = Step(make(), jit)
    for i in range(WARM_UP):
        step(*batches[i % len(batches)])
    return of(step, *batches[0])


def of(step: Step, x, dy) -> int:
    """Of a step that was run before."""
    gc.collect()
    return {"jax": _jax, "torch": _torch, "tensorflow": _tensorflow}[BACKEND](
        step, x, dy
    )


def _jax(step: Step, x, dy) -> int:
    plan = step.lowered(x, dy).compile().memory_analysis()
    new = plan.output_size_in_bytes - plan.alias_size_in_bytes
    return plan.temp_size_in_bytes + new


def _torch(step: Step, x, dy) -> int:
    if x.is_cuda:
        return _cuda(step, x, dy)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step(x, dy)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted(
        (e["ts"], e["args"]["Ev Idx"], e["args"]["Bytes"])
        for e in events
        if e["name"] == "[memory]"
    )
    used = largest = 0
    for _, _, change in changes:
        used += change
        largest = max(largest, used)
    return largest


def _cuda(step: Step, x, dy) -> int:
    from torch import cuda

    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    step(x, dy)
    return cuda.max_memory_allocated() - before


def _tensorflow(step: Step, x, dy) -> int:
    import tensorflow as tf

    peaks = []
    for _ in range(9):
        before = tf.config.experimental.get_memory_info("CPU:0")["current"]
        tf.config.experimental.reset_memory_stats("CPU:0")
        step(x, dy)
        after = tf.config.experimental.get_memory_info("CPU:0")["peak"]
        peaks.append(after - before)
    return statistics.median(peaks)
