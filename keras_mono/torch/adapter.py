from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

import keras
import torch

from keras_mono._internal.model_layers import check_is_monosemantic
from keras_mono._internal.setting import SettingOfAnother, settings_of
from keras_mono.backend import backend, current_backward
from keras_mono.backend.torch.constants import on_device_of
from keras_mono.backend.torch.module import HoldsLayer
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition
from keras_mono.layers.monosemantic_penalty import MonosemanticPenalty
from keras_mono.layers.running_statistics import RunningStatistics


class Adapter(HoldsLayer, torch.nn.Module):
    """A layer of this library as a PyTorch module.

    A Keras layer in a PyTorch loop does not follow `module.train()` and
    `module.eval()`, so it would do nothing. An adapter behaves as `BatchNorm1d`:
    statistics are buffers under their own names in `state_dict`, move with
    `.to(device)`, may be replaced by a tool, and stay float32 under `.half()`. It works
    under `torch.compile`, `torch.func` and autocast; the output has the input's dtype.

    Args:
        layer: `MonosemanticInhibition`, `MonosemanticPenalty` or `MonosemanticScale`.
        input_shape: Shape of the activations with the batch first, None where a length
            may vary, for example `(None, None, 768)`; needs all lengths of `axis`. May
            be omitted if the layer is built; then move the adapter to its module's
            device, since Keras builds on a GPU if there is one.

    Call arguments:
        x: Activations, `(batch, ...)`.
        padding_mask: Optional, boolean or integer, not 0 where an entry counts, shape
            `(batch,)` to the shape of `x`; a tokenizer's `attention_mask` is one.

    Attributes:
        layer: The Keras layer: `layer.score(z)`, `layer.strength`, `layer.reset()`. Get
            it again after a tool has replaced buffers.
        loss: What the latest call adds to the loss, a scalar with gradient: the penalty
            of a `MonosemanticPenalty` in training mode, else 0.

    Raises:
        ImportError: on import, if Keras does not run on PyTorch.
        ValueError: for another layer, without `input_shape` for an unbuilt one, and in
            training if a tool left memory in the buffers that holds no statistics; for
            a `padding_mask` of floats.
        TypeError: for an input that is not one tensor.
        RuntimeError: in training mode under `torch.func.vmap` and the like, unless the
            transformed function is given the buffers.

    Example (PyTorch only)::

        inhibition = Adapter(km.layers.MonosemanticInhibition(axis=-1), (None, 64))
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 64), torch.nn.ReLU(), inhibition, torch.nn.Linear(64, 2)
        )
        model.train()   # inhibits
        model.eval()    # passes values through
    """

    enabled = SettingOfAnother("its layer", "adapter.layer.enabled")
    select = SettingOfAnother("its layer", "adapter.layer.select")
    strength = SettingOfAnother("its layer", "adapter.layer.strength")
    weight = SettingOfAnother("its layer", "adapter.layer.weight")

    def __init__(
        self,
        layer: RunningStatistics,
        input_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        super().__init__()
        self.loss = torch.zeros(())
        check_is_monosemantic(layer)
        if not layer.built:
            _build(layer, input_shape)
        # In a list: registered as a module, it would appear in `state_dict` once more.
        self._held = [layer]
        self._find_variables()
        for name, (variable, _) in self._state.items():
            # Plain: `load_state_dict(assign=True)` makes a parameter of a parameter.
            self.register_buffer(name, variable.value.detach())
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        # The latest loss belongs to a graph, which cannot be copied. The variables are
        # those of the layer's copy.
        left_out = {"loss": self.loss.detach(), "_state": None, "_settings": None}
        return {**super().__getstate__(), **left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._find_variables()

    @property
    def layer(self) -> RunningStatistics:
        self._bind()
        return self._held[0]

    def forward(self, x: Any, padding_mask: Any = None) -> Any:
        if isinstance(x, torch.fx.Proxy):  # one node of the graph
            path = x.tracer.path_of_module(self)
            return x.tracer.create_proxy("call_module", path, (x, padding_mask), {})
        _check_is_tensor(x)
        _check_is_no_bias(padding_mask)
        layer = self._held[0]
        learns = layer.should_update(self.training)
        inhibits = isinstance(layer, MonosemanticInhibition)
        if learns or (inhibits and layer.should_inhibit(self.training)):
            self._bind()
            self._check_state()
            if learns and backend.is_transformed():
                _check_may_change(self._buffers["step"], x)
        with on_device_of(x):
            adds = isinstance(layer, MonosemanticPenalty) and layer.adds_to_loss
            if adds and learns and not layer.listeners:
                # Not `add_loss`, which keeps a list: PyTorch would recompile.
                loss = layer.penalize(x, padding_mask)
                if current_backward() == -1:  # else it would keep the block's graph
                    self.loss = loss
                return x
            if adds:
                self.loss = x.new_zeros(())
            elif self.loss.requires_grad:  # a checkpointed block returned it
                self.loss = torch.zeros(())
            # Not `__call__`, which sets attributes that a compiler cannot trace.
            return layer.call(x, None, self.training, padding_mask)

    def reset_parameters(self) -> None:
        """Set all statistics to zero, as in a new adapter.

        PyTorch tools call this after they have allocated a module's memory.
        """
        self.layer.reset()

    def extra_repr(self) -> str:
        return f"{type(self._held[0]).__name__}, neurons={self.mean.numel()}"

    def _find_variables(self) -> None:
        layer = self._held[0]
        self._state = {v.name: (v, v.value.dtype) for v in layer.saved_variables()}
        self._settings = [v for v in settings_of(layer).values() if v is not None]
        self._is_checked = True

    def _bind(self) -> None:
        """Make the module's buffers the values of the layer's variables.

        Tools replace buffers (`from_pretrained`, `functional_call`), change their dtype
        (FSDP) or their device.
        """
        for name, (variable, dtype) in self._state.items():
            tensor = self._buffers.get(name)
            if tensor is None or tensor.dtype != dtype:
                tensor = self._buffers[name] = self._repaired(name, dtype)
            if not backend.is_compiling() and variable._value is not tensor:
                self._is_checked = False
            variable._value = tensor
        for variable in self._settings:
            if variable._value.device != tensor.device and not tensor.is_meta:
                variable._value = variable._value.detach().to(tensor.device)

    def _repaired(self, name: str, dtype: Any) -> Any:
        """The buffer of a name that a tool made a parameter or gave another dtype."""
        tensor = getattr(self, name)
        self._parameters.pop(name, None)
        return tensor.detach().to(dtype)

    def _check_state(self) -> None:
        """Raise an error if replaced buffers hold impossible statistics."""
        if self._is_checked or backend.is_compiling() or backend.is_transformed():
            return
        try:
            self._held[0].check_saved(self._arrays(self._buffers))
        except ValueError as error:
            raise ValueError(
                f"{error} Is this memory that nothing was loaded into? Then call "
                "`adapter.reset_parameters()`."
            ) from error
        self._is_checked = True

    def _arrays(self, held: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """The statistics among tensors, in NumPy, without those that have no values."""
        found = {name: held.get(prefix + name) for name in self._state}
        return {
            name: keras.ops.convert_to_numpy(tensor)
            for name, tensor in found.items()
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta
        }

    @property
    def _is_hf_initialized(self) -> bool:
        return self.__dict__.get("_is_marked_initialized", False)

    @_is_hf_initialized.setter
    def _is_hf_initialized(self, value: bool) -> None:
        """Reset if `from_pretrained` did not find all statistics in a file.

        It then allocates memory, sets this flag on the tensors that it loaded and on
        every module, and initializes only modules that it knows.
        """
        self.__dict__["_is_marked_initialized"] = value
        for name, (variable, _) in self._state.items():
            tensor = getattr(self, name)
            is_new = tensor is not variable._value
            if is_new and not getattr(tensor, "_is_hf_initialized", False):
                self.reset_parameters()
                return

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self._held[0].waiting.clear()
        try:
            self._held[0].check_saved(self._arrays(state_dict, prefix))
        except ValueError as error:
            args[-1].append(f"In '{prefix[:-1]}': {error}")  # the list of errors
            return  # what is here stays
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:
        """Move the buffers, keeping their dtype and values."""
        self._bind()
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, tensor in before.items():
            moved = self._buffers[name]
            if moved.dtype != tensor.dtype:
                self._buffers[name] = tensor.to(moved.device)
        self._bind()
        return self

    def _replicate_for_data_parallel(self) -> NoReturn:
        raise RuntimeError(
            "`torch.nn.DataParallel` runs one module in several threads, which an "
            "`Adapter` cannot. Use `torch.nn.parallel.DistributedDataParallel`, or one "
            "GPU (`CUDA_VISIBLE_DEVICES=0`)."
        )


def _build(layer: RunningStatistics, input_shape: Any) -> None:
    if input_shape is None:
        raise ValueError(
            f"Layer '{layer.name}' is not built. Pass `input_shape`, for example "
            "`(None, None, 768)`, so that its statistics exist before an optimizer or "
            "`load_state_dict` looks for them."
        )
    if not isinstance(input_shape, Sequence) or not all(
        n is None or (isinstance(n, int) and n >= 0) for n in input_shape
    ):
        raise ValueError(
            "`input_shape` must be a sequence of lengths and None, the batch first, "
            f"such as `(None, None, 768)`. Received: input_shape={input_shape!r}."
        )
    device = torch.get_default_device()  # not Keras' own, which is the GPU if any
    with keras.device("cpu" if device.type == "meta" else str(device)):
        layer.build(tuple(input_shape))


def _check_is_no_bias(padding_mask: Any) -> None:
    """A mask that is added to attention scores is 0 where an entry counts."""
    if isinstance(padding_mask, torch.Tensor) and padding_mask.is_floating_point():
        raise ValueError(
            "`padding_mask` must be boolean or integer, not 0 where an entry counts. "
            f"Received: dtype {padding_mask.dtype}. Pass the tokenizer's "
            "`attention_mask`, not what a model makes of it for its attention; of "
            "zeros and ones in floats pass `padding_mask.bool()`."
        )


def _check_is_tensor(x: Any) -> None:
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            "An adapter takes one tensor of activations. Received: a "
            f"{type(x).__name__}. Of a block's outputs pass one, mostly the first: "
            "`(adapter(output[0]), *output[1:])`; of a dict, one by its name."
        )


def _check_may_change(step: Any, x: Any) -> None:
    """Raise inside `torch.func` if what depends on `x` cannot be put into a buffer."""
    try:
        step.copy_(step + torch.zeros_like(x[:1]).sum().to(step.dtype))
    except RuntimeError as error:
        raise RuntimeError(
            "An adapter in training mode changes its statistics in place, as "
            "`BatchNorm1d` does, and `torch.func.vmap`, `grad` and the like allow that "
            "only for buffers that the transformed function is given as an argument "
            "(under `vmap`, a set each). Call `module.eval()`, or pass them: "
            "`params, buffers = torch.func.stack_module_state(models)`, then "
            "`torch.func.functional_call(model, (params, buffers), x)` inside."
        ) from error
