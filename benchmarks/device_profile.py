"""What an accelerator did in some calls: kernels, their time, reads by the host."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import devices
from steps import BACKEND


@dataclass
class Trace:
    """Of some calls; `per_call` divides."""

    kernels: int = 0  # and copies of memory
    busy: float = 0.0  # seconds in which at least one of them ran
    reads: int = 0  # copies from the device to the host
    read_by: Counter = field(default_factory=Counter)  # what XLA read for
    seconds: Counter = field(default_factory=Counter)  # of each kernel, by its name

    def per_call(self, calls: int) -> "Trace":
        def share(counts: Counter) -> Counter:
            return Counter({name: value / calls for name, value in counts.items()})

        numbers = (self.kernels / calls, self.busy / calls, self.reads / calls)
        return Trace(*numbers, share(self.read_by), share(self.seconds))


def traced(calls: Callable[[], None]) -> Trace:
    """Run `calls`, which was run before, under the backend's profiler."""
    return {"torch": _torch, "jax": _jax}[BACKEND](calls)


def _torch(calls: Callable[[], None]) -> Trace:
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if devices.accelerator() else ProfilerActivity.CPU
    with profile(activities=[activity]) as found:
        calls()
        devices.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    on_device = ("kernel", "gpu_memcpy", "gpu_memset")
    return _summed(
        (e["name"], 1e-6 * e["ts"], 1e-6 * e["dur"], "")
        for e in events
        if e.get("cat") in on_device
    )


def _jax(calls: Callable[[], None]) -> Trace:
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            calls()
        (path,) = Path(folder).rglob("*.xplane.pb")
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        return _summed(
            (e.name, 1e-9 * e.start_ns, 1e-9 * e.duration_ns, _operation(e))
            for plane in planes
            if plane.name.startswith("/device:GPU")
            for line in plane.lines
            if line.name.startswith("Stream")
            for e in line.events
        )


def _operation(event: Any) -> str:
    """XLA's, that an event is part of."""
    return str(dict(event.stats).get("hlo_op", ""))


def _summed(events: Iterable[tuple[str, float, float, str]]) -> Trace:
    """Of names, starts and durations in seconds; what overlaps counts once as busy."""
    result, end = Trace(), 0.0
    for name, start, duration, operation in sorted(events, key=lambda event: event[1]):
        result.kernels += 1
        if "DtoH" in name or "D2H" in name:
            result.reads += 1
            result.read_by[operation] += 1
        result.seconds[name] += duration
        result.busy += max(0.0, start + duration - max(start, end))
        end = max(end, start + duration)
    return result
