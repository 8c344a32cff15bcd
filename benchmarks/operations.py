"""How long single operations take on a GPU, on PyTorch: what an eager call is made of.

    python benchmarks/operations.py

Prints the time of each, and the memory that it has to move by that time, at three
shapes. Those that an eager training call of our layers starts on all activations are
among them, and some that could take their place.
"""

from collections.abc import Callable

import torch

SHAPES = ((64, 512, 1024), (8, 512, 4096), (32, 128, 768))
WARM_UP, CALLS = 3, 20


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("operations.py times a GPU by its own clock, and found none.")
    for shape in SHAPES:
        print(shape)
        activation = 4 * torch.Size(shape).numel()
        for name, (moved, operation) in operations(shape).items():
            us = microseconds(operation)
            rate = moved * activation / us / 1e6
            print(f"{us:8.1f} us {rate:6.2f} TB/s  {name}", flush=True)


def microseconds(operation: Callable[[], object]) -> float:
    for _ in range(WARM_UP):
        operation()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(CALLS):
        operation()
    end.record()
    torch.cuda.synchronize()
    return 1e3 * start.elapsed_time(end) / CALLS


def operations(shape: tuple[int, ...]) -> dict[str, tuple[float, Callable]]:
    """Name to the activations that it moves, and the operation."""
    z, y = (torch.randn(shape, device="cuda") for _ in range(2))
    ok, kept, half = z.abs() < 3, z < 2, z.to(torch.bfloat16)
    mean = torch.randn((1, 1, shape[-1]), device="cuda") * 0.1
    zero, one, tau = (torch.tensor(x, device="cuda") for x in (0.0, 1.0, 2.0))
    limits, row, flat = torch.full_like(mean, 1e16), z.flatten(1), z.flatten(0, -2)
    return {
        "clone": (2, lambda: z.clone()),
        "bf16 to f32": (1.5, lambda: half.to(torch.float32)),
        "abs": (2, lambda: z.abs()),
        "abs<L scalar": (1.25, lambda: z < 1e16),
        "abs<L tensor(C)": (1.25, lambda: z < limits),
        "z-mean": (2, lambda: z - mean),
        "where(ok,z,mean)": (2.25, lambda: torch.where(ok, z, mean)),
        "where(ok,z,0dim)": (2.25, lambda: torch.where(ok, z, zero)),
        "mse_loss": (2, lambda: torch.ops.aten.mse_loss(z, mean, 0)),
        "square": (2, lambda: z.square()),
        "mul_ bcast": (2, lambda: y.mul_(mean.abs() + 1)),
        "addcmul bcast": (2, lambda: torch.addcmul(z, mean, one)),
        "sum(0,1)": (1, lambda: z.sum((0, 1), keepdim=True)),
        "sum(0) flat": (1, lambda: flat.sum(0)),
        "sum(1).sum(0)": (1, lambda: z.sum(1).sum(0)),
        "bool sum(0,1) f32": (0.25, lambda: ok.sum((0, 1), dtype=torch.float32)),
        "bool sum(0,1) i64": (0.25, lambda: ok.sum((0, 1))),
        "u8 sum i32": (0.25, lambda: bytes_of(ok).sum((0, 1), dtype=torch.int32)),
        "bool sum all f32": (0.25, lambda: ok.sum(dtype=torch.float32)),
        "bool sum all i64": (0.25, lambda: ok.sum()),
        "sum all": (1, lambda: z.sum()),
        "var_mean(0,1)": (1, lambda: torch.var_mean(z, (0, 1))),
        "row.amax(1)": (1, lambda: row.amax(1)),
        "topk 50 row": (1, lambda: row.topk(50, 1, sorted=False)),
        "topk 50 pos": (1, lambda: z.topk(50, -1, sorted=False)),
        "ge tau": (1.25, lambda: z >= tau),
        "ge per sample": (1.25, lambda: z >= z[:, :1, :1]),
        "logical_not": (0.5, lambda: ok.logical_not()),
        "where(sel,mean,z)": (2.25, lambda: torch.where(kept, mean, z)),
        "leaky_relu_backward bool": (2.25, lambda: reversed_where_not(z, kept)),
        "xlogy": (2.25, lambda: torch.xlogy(kept, y)),
        "small add": (0, lambda: mean + mean),
    }


def bytes_of(condition: torch.Tensor) -> torch.Tensor:
    return condition.view(torch.uint8)


def reversed_where_not(upstream: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten.leaky_relu_backward(upstream, kept, -1.0, False)


if __name__ == "__main__":
    main()
