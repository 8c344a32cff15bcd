from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mono._internal.typing import Tensor
from keras_mono.layers.conv_gru2d_cell import OF_WEIGHTS, ConvGRU2DCell
from keras_mono.layers.inhibited_rnn import InhibitedRNN
from keras_mono.layers.monosemantic_inhibition import MonosemanticInhibition


@keras.saving.register_keras_serializable(package="keras_mono")
class ConvGRU2D(InhibitedRNN):
    """2D convolutional GRU, the recurrent network of the MEmeL paper.

    Takes the arguments of `keras.layers.ConvLSTM2D`. With `inhibition` the most
    monosemantic activations of the candidate state are replaced by their mean at every
    time step, with a reversed gradient, as the paper does for HKO-7.

    `u = σ(Wu * x + Uu * h + bu)`, `r = σ(Wr * x + Ur * h + br)`

    `candidate = a(Wc * x + r · (Uc * h) + bc)`, `h ← (1 - u) · candidate + u · h`

    where `*` is a convolution, of `x` with strides, dilation and padding, of `h` with
    neither and padding "same". The reset gate applies after the convolution.

    Reference: MEmeL (arXiv:2312.11560), its experiments on HKO-7, the benchmark of
    arXiv:1706.03458.

    Args:
        filters: Channels of the state.
        kernel_size: One number or two: size of both kernels.
        strides, padding, data_format, dilation_rate: Of the convolution of `x`, as in
            `keras.layers.Conv2D`.
        activation: Of the candidate; the paper's leaky ReLU of slope 0.2 by default,
            which is Keras' `"leaky_relu"`.
        recurrent_activation: Of the gates.
        use_bias: Whether the convolution of `x` has a bias; that of `h` has none.
        dropout, recurrent_dropout: Share of the inputs and of the state to drop, the
            same ones at all time steps of a sample.
        seed: Of the dropout.
        inhibition: `MonosemanticInhibition` for the candidate; its `axis` refers to
            `(batch, rows, columns, filters)`. None by default: no inhibition.
        unit_forget_bias: Start the bias of the update gate, which keeps the old state,
            at 1. False by default: the paper has no such thing.
        kernel_initializer, recurrent_initializer, bias_initializer: Of the weights,
            whose last axis holds update gate, reset gate and candidate.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: As in
            `keras.layers.ConvLSTM2D`.
        activity_regularizer, kernel_constraint, recurrent_constraint, bias_constraint:
            As in `keras.layers.ConvLSTM2D`.
        return_sequences, return_state, go_backwards, stateful: As in
            `keras.layers.RNN`.
        **kwargs: As in `keras.layers.RNN`.

    Call arguments:
        sequences: `(batch, time, rows, columns, channels)`, or `(batch, time, channels,
            rows, columns)` with `data_format="channels_first"`.
        initial_state, mask: As in `InhibitedRNN`. Masked steps change nothing.
        training: Drops out, inhibits and learns if True.

    Output shape:
        `(batch, rows', columns', filters)`, with the time after the batch if
        `return_sequences`; with `return_state` also the state, without time. Channels
        come before the rows with `data_format="channels_first"`.

    Raises:
        ValueError: for rows, columns or channels of unknown length, a kernel larger
            than a "valid" input, arguments that Keras' own convolutions refuse, and
            an `inhibition` that `InhibitedRNN` refuses.

    Example:

    >>> layer = km.layers.ConvGRU2D(
    ...     4, 3, padding="same", inhibition=km.layers.MonosemanticInhibition()
    ... )
    >>> frames = np.random.default_rng(0).random((2, 5, 8, 8, 1)).astype("float32")
    >>> tuple(layer(frames, training=True).shape)
    (2, 8, 8, 4)
    >>> int(layer.inhibition.step)  # one batch of sequences
    1
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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        inhibition: MonosemanticInhibition | None = None,
        **kwargs: Any,
    ) -> None:
        names = {"unit_forget_bias", *OF_WEIGHTS} & {*kwargs}
        of_cell = {name: kwargs.pop(name) for name in names}
        cell = ConvGRU2DCell(
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            recurrent_activation,
            use_bias,
            **of_cell,
            name="conv_gru2d_cell",
            dtype=kwargs.get("dtype"),
        )
        super().__init__(cell, inhibition, **kwargs)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.input_spec = keras.InputSpec(ndim=5)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["cell"]
        of_the_cell = self.cell.get_config()
        for name in keras.layers.Layer.get_config(self):  # name, dtype, ...
            of_the_cell.pop(name, None)
        return {
            **config,
            **of_the_cell,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
            "activity_regularizer": keras.regularizers.serialize(
                self.activity_regularizer
            ),
        }

    def compute_output_shape(
        self,
        sequences_shape: tuple[int | None, ...],
        initial_state_shape: Any = None,  # noqa: ARG002
    ) -> Any:
        batch, time = sequences_shape[:2]
        state = self._activation_shape(sequences_shape)
        output = (batch, time, *state[1:]) if self.return_sequences else state
        return (output, state) if self.return_state else output

    def without_inhibition(self) -> "ConvGRU2D":
        plain = ConvGRU2D.from_config({**self.get_config(), "inhibition": None})
        plain.cell = self.cell
        plain.trainable = self.trainable
        return plain

    def _activation_shape(
        self, sequences_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return self.cell.compute_output_shape(
            (sequences_shape[0], *sequences_shape[2:])
        )

    def _arguments(self, sequences: Tensor, training: bool) -> dict[str, Any]:
        """Dropout is drawn once, before the loop: it is the same at all time steps."""
        masks: tuple[Tensor | None, Tensor | None] = (None, None)
        if training and (self.dropout or self.recurrent_dropout):
            state = self.get_initial_state(ops.shape(sequences)[0])[0]
            masks = (
                self._dropped(sequences[:, 0], self.dropout),
                self._dropped(state, self.recurrent_dropout),
            )
        return {"dropout_masks": masks}

    def _dropped(self, like: Tensor, rate: float) -> Tensor | None:
        if not rate:
            return None
        return keras.random.dropout(ops.ones_like(like), rate, seed=self.seed_generator)
