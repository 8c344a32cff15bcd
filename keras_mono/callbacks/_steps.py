"""Counting the steps of an epoch."""

from typing import Any


def steps_done(batch: int, params: dict[str, Any] | None) -> int:
    """Steps of this epoch after a callback's `batch` has ended.

    With `steps_per_execution` the last execution of an epoch may be a part of one;
    Keras names its last step all the same. Where Keras knows the epoch's length,
    `params` holds it.
    """
    steps = (params or {}).get("steps")
    return batch + 1 if steps is None else min(batch + 1, steps)
