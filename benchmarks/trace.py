"""What an accelerator did in some calls: kernels, their time, reads by the host."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import devices
from steps import BACKEND


@dataclass
class Trace:
    """Of some calls; `per_call` divides."""

    kernels: int = 0  # and copies of memory
    busy: float = 0.0  # seconds in which at least one of them ran
    reads: int = 0  # copies from the device to the host
    seconds: Counter = field(default_factory=Counter)  # of each kernel, by its name

    def per_call(self, calls: int) -> "Trace":
        seconds = Counter({k: v / calls for k, v in self.seconds.items()})
        return Trace(
            self.kernels / calls, self.busy / calls, self.reads / calls, seconds
        )


def traced(calls: Callable[[], None]) -> Trace:
    """Run `calls`, which was run before, under the backend's profiler."""
    return {"torch": _torch, "jax": _jax}[BACKEND](calls)


def _torch(calls: Callable[[], None]) -> Trace:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        calls()
        devices.wait()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    on_device = ("kernel", "gpu_memcpy", "gpu_memset")
    return _summed(
        (e["name"], 1e-6 * e["ts"], 1e-6 * e["dur"])
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
            (e.name, 1e-9 * e.start_ns, 1e-9 * e.duration_ns)
            for plane in planes
            if plane.name.startswith("/device:GPU")
            for line in plane.lines
            if line.name.startswith("Stream")
            for e in line.events
        )


def _summed(events: Iterable[tuple[str, float, float]]) -> Trace:
    """Of names, starts and durations in seconds; what overlaps counts once as busy."""
    result, end = Trace(), 0.0
    for name, start, duration in sorted(events, key=lambda event: event[1]):
        result.kernels += 1
        result.reads += "DtoH" in name or "D2H" in name
        result.seconds[name] += duration
        result.busy += max(0.0, start + duration - max(start, end))
        end = max(end, start + duration)
    return result
