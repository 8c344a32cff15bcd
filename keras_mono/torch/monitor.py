from collections.abc import Sequence
from typing import Any

from keras_mono._internal.as_model import as_model
from keras_mono.callbacks.monosemanticity_monitor import MonosemanticityMonitor


class _WithoutFit(MonosemanticityMonitor):
    """A monitor that does not expect training batches between measurements."""

    _ending = ""

    def _tell_of_layers_without_batches(self, before: dict[str, int]) -> None:
        pass

    def _now(self) -> str:
        return f"measurement {self._epoch + 1}"


class Monitor:
    """`MonosemanticityMonitor` for a training loop of your own.

    Call `measure` when you want figures, for example after each epoch, and pass them to
    your logger. The module runs in eval mode without gradients, and gets its modes back
    afterwards. No state changes. A warning tells of a layer that collapses; what it is
    compared with is when this monitor was made, and its first measurement in which
    neurons vary.

    Args:
        module: A PyTorch module with adapters.
        data: The module's inputs without labels: an array or a tensor, a dict for
            arguments by name, a list or tuple for several. None: only the figures from
            the layers' state, which cost no forward pass.
        layers: Paths of the adapters to watch, as in `named_modules`. None: all.
        batch_size: Samples per forward pass.

    Raises:
        ValueError: for a module without adapters, for a path that none has, and,
            without `data`, for a layer that has no figure of its own.

    Attributes:
        rows: One dict per measurement and layer.

    Example (PyTorch only)::

        monitor = Monitor(model, x_val[:256])
        for epoch in range(10):
            train(model)
            for name, value in monitor.measure().items():
                writer.add_scalar(name, value, epoch)
        monitor.plot()
    """

    def __init__(
        self,
        module: Any,
        data: Any = None,
        layers: Sequence[str] | None = None,
        batch_size: int = 128,
    ) -> None:
        self._callback = _WithoutFit(data, layers, batch_size=batch_size)
        self._callback.set_model(as_model(module))
        self._callback.set_params({})
        self._measured = 0
        self._callback.on_train_begin()
        self._callback.on_epoch_begin(0)

    def measure(self) -> dict[str, float]:
        """The figures now: PATH_ms_top1 and so on, see `MonosemanticityMonitor`.

        `epoch` in `rows` counts the measurements from 0.
        """
        figures: dict[str, float] = {}
        self._callback.on_epoch_end(self._measured, figures)
        self._measured += 1
        self._callback.on_epoch_begin(self._measured)
        return figures

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self._callback.rows

    def to_frame(self) -> Any:
        """A pandas `DataFrame` with one row per measurement and layer."""
        return self._callback.to_frame()

    def plot(self) -> Any:
        """The figures over the measurements as a matplotlib `Figure`."""
        return self._callback.plot()
