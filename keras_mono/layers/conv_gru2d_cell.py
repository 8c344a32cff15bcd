from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_mono._internal.typing import Tensor

_OF_CONVOLUTION = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "data_format",
    "dilation_rate",
)
OF_WEIGHTS = tuple(
    f"{weight}_{what}"
    for weight in ("kernel", "recurrent", "bias")
    for what in ("initializer", "regularizer", "constraint")
)


@keras.saving.register_keras_serializable(package="keras_mono")
class ConvGRU2DCell(keras.layers.Layer):
    """One step of `ConvGRU2D`.

    The formula and the arguments are those of `ConvGRU2D`.

    Call arguments:
        inputs: `(batch, rows, columns, channels)`, or channels first.
        states: List of one tensor, `(batch, rows', columns', filters)`.
        training: Not used; dropout arrives in `dropout_masks`.
        inhibit: Function that is applied to the candidate.
        dropout_masks: Factors of the inputs and of the state, None for none.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = "leaky_relu",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = False,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._set_convolution(
            filters, kernel_size, strides, padding, data_format, dilation_rate
        )
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.use_bias, self.unit_forget_bias = use_bias, unit_forget_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.state_size = self.filters

    def _set_convolution(self, *arguments: Any) -> None:
        """Take the arguments that a convolution of Keras checks and normalizes."""
        like = keras.layers.Conv2D(*arguments, name="like")
        for name in _OF_CONVOLUTION:
            setattr(self, name, getattr(like, name))
        self._output_shape = like.compute_output_shape  # not the layer: it would count

    def get_config(self) -> dict[str, Any]:
        names = (*_OF_CONVOLUTION, "use_bias", "unit_forget_bias")
        config = {name: getattr(self, name) for name in names}
        for name in OF_WEIGHTS:
            module = getattr(keras, name.partition("_")[2] + "s")
            config[name] = module.serialize(getattr(self, name))
        for name in ("activation", "recurrent_activation"):
            config[name] = keras.activations.serialize(getattr(self, name))
        return {**super().get_config(), **config}

    @property
    def channel_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else 3

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self._step_shape = tuple(input_shape)[1:]
        if None in self._step_shape:
            raise ValueError(
                "ConvGRU2D needs fixed rows, columns and channels. Received: steps of "
                f"shape {tuple(input_shape)}. Give the input a fixed shape; batch size "
                "and number of time steps may be unknown."
            )
        self.compute_output_shape(input_shape)  # an error if the kernel does not fit
        channels = input_shape[self.channel_axis]
        gates = 3 * self.filters
        shape = (*self.kernel_size, channels, gates)
        self.kernel = self._weight("kernel", shape, "kernel")
        shape = (*self.kernel_size, self.filters, gates)
        self.recurrent_kernel = self._weight("recurrent_kernel", shape, "recurrent")
        self.bias = self._weight("bias", (gates,), "bias") if self.use_bias else None

    def _weight(self, name: str, shape: tuple[int, ...], of: str) -> keras.Variable:
        initializer = getattr(self, f"{of}_initializer")
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self._initial_bias if of == "bias" else initializer,
            regularizer=getattr(self, f"{of}_regularizer"),
            constraint=getattr(self, f"{of}_constraint"),
        )

    def call(
        self,
        inputs: Tensor,
        states: Sequence[Tensor],
        training: bool | None = None,  # noqa: ARG002
        inhibit: Callable[[Tensor], Tensor] | None = None,
        dropout_masks: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> tuple[Tensor, list[Tensor]]:
        of_inputs, of_state = dropout_masks
        (before,) = states
        x = inputs if of_inputs is None else inputs * of_inputs
        h = before if of_state is None else before * of_state
        from_x = ops.conv(
            x,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        if self.bias is not None:
            along_channels = [-1 if i == self.channel_axis else 1 for i in range(4)]
            from_x = from_x + ops.reshape(self.bias, along_channels)
        from_h = ops.conv(
            h, self.recurrent_kernel, padding="same", data_format=self.data_format
        )
        xu, xr, xc = ops.split(from_x, 3, axis=self.channel_axis)
        hu, hr, hc = ops.split(from_h, 3, axis=self.channel_axis)
        update = self.recurrent_activation(xu + hu)
        reset = self.recurrent_activation(xr + hr)
        candidate = self.activation(xc + reset * hc)
        if inhibit is not None:
            candidate = inhibit(candidate)
        after = (1.0 - update) * candidate + update * before
        return after, [after]

    def compute_output_shape(
        self,
        input_shape: tuple[int | None, ...],
        states_shape: Any = None,  # noqa: ARG002
    ) -> tuple[int | None, ...]:
        return tuple(self._output_shape(input_shape))

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        shape = self.compute_output_shape((batch_size, *self._step_shape))
        return [ops.zeros(shape, dtype=self.compute_dtype)]

    def _initial_bias(self, shape: tuple[int, ...], **kwargs: Any) -> Tensor:
        """As given; with `unit_forget_bias`, 1 for the update gate, which forgets."""
        bias = self.bias_initializer(shape, **kwargs)
        if not self.unit_forget_bias:
            return bias
        ones = ops.ones((self.filters,), dtype=bias.dtype)
        return ops.concatenate([ones, bias[self.filters :]])
