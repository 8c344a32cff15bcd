"""Detecting that a layer is called inside the loop of a Keras RNN."""

import sys
from collections.abc import Callable
from types import FrameType

import keras

from keras_mono.backend import backend


def after_loop(run: Callable[[], None]) -> None:
    """Call `run` after a loop, but still inside the method `inner_loop`."""
    run()


def check_outside(layer: keras.layers.Layer) -> None:
    """Raise a `ValueError` if the layer is called inside the loop of a Keras RNN.

    Inside the loop JAX cannot change statistics, and PyTorch and TensorFlow count some
    time steps twice.
    """
    # Not handed the name alone: PyTorch 2.11 would compile again for each name.
    if backend.is_compiling():
        return
    frame: FrameType | None = sys._getframe(1)
    loops_over = 0
    while frame is not None:
        if frame.f_code is after_loop.__code__:
            loops_over += 1
        is_loop = frame.f_code.co_name == "inner_loop"
        loop = frame.f_locals.get("self") if is_loop else None
        if isinstance(loop, keras.layers.RNN):
            if not loops_over:
                raise ValueError(
                    f"Layer '{layer.name}' keeps statistics and was called inside the "
                    f"recurrence of '{loop.name}', where they cannot be kept right. "
                    "Take it out of the cell and use `km.layers.InhibitedRNN(cell, "
                    "inhibition=km.layers.MonosemanticInhibition())`, or "
                    "`km.layers.ConvGRU2D(..., inhibition=...)`, which inhibit inside "
                    "the recurrence and update after it."
                )
            loops_over -= 1
        frame = frame.f_back
