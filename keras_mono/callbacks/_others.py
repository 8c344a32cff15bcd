"""The other callbacks of the same `fit`, to which Keras gives no access."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_mono.callbacks.inhibition_schedule import InhibitionSchedule

_READ_NO_FIGURES = (
    keras.callbacks.BackupAndRestore,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TerminateOnNaN,
    InhibitionSchedule,
)

Callbacks = Sequence[keras.callbacks.Callback]


def before_and_after(callback: keras.callbacks.Callback) -> tuple[Callbacks, Callbacks]:
    """The callbacks that Keras runs before and after `callback`.

    To be called from one of its hooks: Keras' `CallbackList` is then among the callers.
    Without one, both are empty. A callback that is given twice is before itself.
    """
    frame = inspect.currentframe()
    while frame is not None:
        runner: Any = frame.f_locals.get("self")
        is_list = isinstance(runner, keras.callbacks.CallbackList)
        every = runner.callbacks if is_list else []
        places = [i for i, x in enumerate(every) if x is callback]
        if places:
            return every[: places[-1]], every[places[-1] + 1 :]
        frame = frame.f_back
    return [], []


def tell_of_readers(before: Callbacks, keys: set[str], unit: str) -> None:
    """Warn of callbacks that read `logs` before the figures are written."""
    readers = [type(x).__name__ for x in before if _reads(x, keys, unit)]
    if readers:
        warnings.warn(
            f"{', '.join(dict.fromkeys(readers))} before the MonosemanticityMonitor in "
            "`callbacks` sees none of its figures: callbacks run in the order of the "
            "list, on the same logs. Put the monitor first.",
            stacklevel=4,  # Keras, which runs the callback
        )


def check_patience(after: Callbacks, keys: set[str], epochs: int) -> None:
    """Raise an error for a patience that ends before the next measurement."""
    if epochs <= 1:  # then no epoch repeats a figure
        return
    for callback in after:
        monitored = getattr(callback, "monitor", None)
        patience = getattr(callback, "patience", None)
        if not (isinstance(monitored, str) and isinstance(patience, int)):
            continue
        if monitored in keys and patience < epochs:
            raise ValueError(
                f"{type(callback).__name__}(monitor='{monitored}') must be patient "
                f"until the next measurement, which is {epochs} epochs later; its "
                f"patience counts epochs. Received: patience={patience}. Set it to at "
                f"least {epochs}, or measure more often with a smaller `every`."
            )


def _reads(callback: keras.callbacks.Callback, keys: set[str], unit: str) -> bool:
    """Whether a callback may use the figures: it overrides a hook with `logs`."""
    if isinstance(callback, _READ_NO_FIGURES):
        return False
    monitored = getattr(callback, "monitor", None)
    if isinstance(monitored, str):  # and a path may hold figures: "{name_ms_top1:.2f}"
        path = str(getattr(callback, "filepath", ""))
        return monitored in keys or any("{" + key in path for key in keys)
    hooks = ["on_epoch_end"]
    if unit == "batch":
        hooks += ["on_train_batch_end", "on_batch_end"]
    plain = keras.callbacks.Callback
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(plain, hook)
        for hook in hooks
    )
