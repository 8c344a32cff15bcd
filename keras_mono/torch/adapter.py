import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras

from keras_mono._eager import current_backward, torch_module
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.running_statistics import RunningStatistics

torch = torch_module("keras_mono.torch")


class Adapter(torch.nn.Module):  # type: ignore[name-defined]
    """A layer of this library as a PyTorch module.

    A Keras layer that is called in a PyTorch loop does not follow `module.train()` and
    `module.eval()`, and would do nothing. This one does, and behaves as PyTorch users
    expect: statistics are buffers under their own names in `state_dict`, move with
    `.to(device)`, and stay float32 under `.half()`. It works under `torch.compile` and
    autocast; the output has the input's dtype.

    Args:
        layer: `MonosemanticInhibition`, `MonosemanticPenalty` or `MonosemanticScale`.
        input_shape: Shape of the activations with the batch first, None where a length
            may vary, for example `(None, None, 768)`; needs all lengths of `axis`. May
            be left out if the layer is built.

    Call arguments:
        x: Activations, `(batch, ...)`.
        padding_mask: Optional, not 0 where an entry counts, shape `(batch,)` to the
            shape of `x`; a HuggingFace `attention_mask` is one.

    Attributes:
        layer: The Keras layer: `layer.score(z)`, `layer.strength`, `layer.reset()`.
        loss: What the latest call adds to the loss, a scalar with gradient: the penalty
            of a `MonosemanticPenalty` in training mode, else 0.

    Raises:
        ImportError: on import, if Keras does not run on PyTorch.
        ValueError: for another layer, and without `input_shape` for an unbuilt one.

    Example (PyTorch only)::

        inhibition = Adapter(km.layers.MonosemanticInhibition(axis=-1), (None, 64))
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 64), torch.nn.ReLU(), inhibition, torch.nn.Linear(64, 2)
        )
        model.train()   # inhibits
        model.eval()    # passes values through
    """

    def __init__(
        self,
        layer: RunningStatistics,
        input_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        super().__init__()
        self.loss = torch.zeros(())
        if not isinstance(layer, RunningStatistics):
            raise ValueError(
                "`layer` must be a layer of this library, such as "
                f"`km.layers.MonosemanticInhibition()`. Received: layer={layer!r}."
            )
        if not layer.built:
            if input_shape is None:
                raise ValueError(
                    f"Layer '{layer.name}' is not built. Pass `input_shape`, for "
                    "example `(None, None, 768)`, so that its statistics exist before "
                    "an optimizer or `load_state_dict` looks for them."
                )
            if not isinstance(input_shape, Sequence):
                raise ValueError(
                    "`input_shape` must be a sequence, the batch first, such as "
                    f"`(None, None, 768)`. Received: input_shape={input_shape!r}."
                )
            layer.build(tuple(input_shape))
        # In a list: registered as a module, it would appear in `state_dict` once more.
        self._held = [layer]
        for variable in layer.saved_variables():
            # The very tensor that the layer assigns to, in place.
            self.register_buffer(variable.name, variable.value)

    def __getstate__(self) -> dict[str, Any]:
        # The latest loss belongs to a graph, which cannot be copied.
        return {**self.__dict__, "loss": self.loss.detach()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for variable in self.layer.saved_variables():  # unpickled as two tensors
            variable.assign(self._buffers[variable.name])
            self._buffers[variable.name] = variable.value

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        for variable in self.layer.saved_variables():  # `assign=True` brings new ones
            given = getattr(self, variable.name)
            if given is not variable.value:
                self._parameters.pop(variable.name, None)
                variable.assign(given.detach())
                self._buffers[variable.name] = variable.value

    @property
    def layer(self) -> RunningStatistics:
        return self._held[0]

    def forward(self, x: Any, padding_mask: Any = None) -> Any:
        with _on_device_of(x):
            if isinstance(self.layer, MonosemanticPenalty):
                learns = self.training and self.layer.trainable
                # Keras' `add_loss` keeps a list, for which PyTorch compiles anew.
                loss = (
                    self.layer.penalize(x, padding_mask) if learns else x.new_zeros(())
                )
                if current_backward() == -1:  # else it would keep the block's graph
                    self.loss = loss
                return x
            # Not `__call__`: what Keras keeps about a call does not survive a compiler.
            return self.layer.call(x, None, self.training, padding_mask)

    def extra_repr(self) -> str:
        return f"{type(self.layer).__name__}, neurons={self.mean.numel()}"

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:  # noqa: ARG002
        """Move the tensors in place, so that the layer sees it; keep their dtype."""
        for tensor in self._buffers.values():
            tensor.data = fn(tensor.data).to(tensor.dtype)
        return self


def _on_device_of(x: Any) -> Any:
    """Keras computes on its default device, the GPU if there is one."""
    if not torch.cuda.is_available():
        return contextlib.nullcontext()
    return keras.device(str(x.device))
