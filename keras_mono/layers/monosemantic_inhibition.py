from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_mono import selectors
from keras_mono._internal import validation
from keras_mono._internal.setting import Fixed, Setting, SettingOfAnother
from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend
from keras_mono.backend.replicas import alone
from keras_mono.layers.selecting_layer import SelectingLayer, Selection
from keras_mono.ops.scale_invariant_deactivate import deactivate_as_defined


@keras.saving.register_keras_serializable(package="keras_mono")
class MonosemanticInhibition(SelectingLayer):
    """Inhibits the most monosemantic activations during training (MEmeL).

    Put it after the layer whose neurons should become less monosemantic. While training
    it finds the activations that lie furthest from their neuron's own history and
    replaces them by the neuron's mean, with a reversed gradient:

    `φ = (z - mean)² / (variance + ε · average variance of the layer)`

    `selected: mean - Δ·(z - ng(z))`, that is the value `mean` with the gradient -Δ

    The layers behind it get a value without information and learn to use other neurons;
    the reversed gradient is to move the true activation towards its mean. That presumes
    that the loss pulls it back, which it often does not (docs/results.md).
    `gradient="scale_invariant"` has the same value and always pulls towards the mean,
    without shrinking or switching off neurons: `km.ops.scale_invariant_deactivate`. At
    inference the layer is the identity and can be removed.

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1, section 3.3, Algs. 1 and 2.

    Args:
        select: Which activations: an integer k for the k largest φ of each sample
            (`TopK(k)`), a fraction in (0, 1) for all above a moving threshold
            (`MovingThreshold(fraction)`), or a selector.
        strength: Δ. 1 is reversed deactivation, 0 and -1 the paper's naive (a) and (b);
            MEmeL-Tune searches {1, 5, 10, 50, 100}.
        axis: Axis or axes that index neurons, as in `BatchNormalization`. None: every
            position of a sample is a neuron (the paper's reading), which needs fixed
            lengths. `-1`: one neuron a channel, batch and positions pooled.
        forget_steps: n_f: the history weighs at most this many times the largest batch
            a neuron has had. None never forgets.
        start_step: l_s: the first `start_step` training batches are only observed.
        variance_compensation: ε ≥ 0: share of the layer's average variance added to
            each neuron's own.
        include_current_batch: False scores a batch against the history before it (the
            paper's definition). True lets it join first, as the authors' code does.
        active: `"training"`, or `"always"` to inhibit at inference too. State moves in
            training only.
        enabled: False switches the layer off: it observes and inhibits nothing.
        gradient: `"reversed"`, the paper's, or `"scale_invariant"`, whose moments are
            those of the batch, over all replicas; inside a recurrence those of the time
            step on this replica.
        **kwargs: As in any `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of rank 2 or more, batch first.
        mask: Keras mask, boolean. Masked entries are neither counted nor selected.
            Passed on.
        training: Inhibits and learns if True and the layer is trainable.
        padding_mask: As `mask`, for models that hand padding over as an input of their
            own; not 0 where an entry counts. Not passed on.

    Input shape:
        `(batch, ..., neurons)`. Batch size and, with `axis=-1`, lengths may be unknown.

    Output shape:
        Same as the input. At inference the input itself.

    Raises:
        ValueError: for arguments out of range (k larger than the layer, steps below 1,
            negative compensation, an `axis` that is out of range, repeated or the batch
            axis), for `axis=None` with an unknown length, and for an input that is not
            float.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((16,)),
    ...     keras.layers.Dense(32, activation="relu"),
    ...     km.layers.MonosemanticInhibition(name="inhibition"),
    ...     keras.layers.Dense(2),
    ... ])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(96, 16)).astype("float32")
    >>> history = model.fit(x, x[:, :2], batch_size=8, verbose=0)
    >>> int(model.get_layer("inhibition").step)
    12

    Notes:
        `trainable=False` means inference mode, as in `BatchNormalization`: nothing is
        learned, and nothing inhibited unless `active="always"`. Statistics are float32
        under every dtype policy and the output has the compute dtype. NaN, infinite and
        larger than 3.6e16 entries pass through; they are neither counted nor selected.
        A neuron is not selected before its history holds two values. With
        `gradient="scale_invariant"` nothing pulls a neuron that has one entry in a
        batch, as at batch size 1 without positions. A warning says so if the first
        training batch is of this kind and its shape is known.
    """

    _acts_by = "strength"
    strength = Setting(
        validation.factor,
        "Δ in force. Setting it takes effect at the next step, without recompiling.",
    )
    weight = SettingOfAnother("MonosemanticPenalty", instead="strength")
    active = Fixed(
        validation.one_of(
            ("training", "always"),
            "'training' is the identity at inference, 'always' inhibits there too.",
        )
    )
    gradient = Fixed(
        validation.one_of(
            ("reversed", "scale_invariant"),
            "Pass 'reversed' for the paper's or 'scale_invariant' for one that always "
            "pulls towards the mean.",
        )
    )

    def __init__(
        self,
        select: int | float | selectors.Selector = 1,
        strength: float = 1.0,
        axis: int | Sequence[int] | None = None,
        forget_steps: int | None = 10,
        start_step: int = 10,
        variance_compensation: float = 0.01,
        include_current_batch: bool = False,
        active: str = "training",
        enabled: bool = True,
        gradient: str = "reversed",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            select,
            axis,
            forget_steps,
            start_step,
            variance_compensation,
            include_current_batch,
            enabled,
            **kwargs,
        )
        self.strength = strength
        self.active = active
        self.gradient = gradient

    def _train(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        if self.gradient == "scale_invariant":
            self._tell_of_single_entries(tuple(inputs.shape))
        return super()._train(inputs, mask)

    def _infer(
        self, inputs: Tensor, mask: Tensor | None, training: bool | None
    ) -> Tensor:
        if self.should_inhibit(training):
            return self.as_pure_function()(inputs, mask)
        return inputs

    def should_inhibit(self, training: bool | None) -> bool:
        """Whether a call in this mode may inhibit."""
        return self.active == "always" or self._is_training(training)

    def as_pure_function(self) -> Callable[..., Tensor]:
        """The inhibition by the statistics of this moment: a pure `f(z, mask=None)`.

        For loops in which statistics cannot change, such as a recurrence.
        """
        select, now = self._frozen_selection(), self.statistics()
        mean = ops.copy(now.mean), ops.copy(now.mean_compensation)

        def inhibit(z: Tensor, mask: Tensor | None = None) -> Tensor:
            selection = Selection(select(z, mask), *mean, self._factor())
            if backend.num_replicas() == 1:
                return self._act(z, mask, selection)[0]
            with alone():  # a loop may take other turns on other replicas
                return self._act(z, mask, selection)[0]

        return inhibit

    def _act(
        self, inputs: Tensor, mask: Tensor | None, selection: Selection
    ) -> tuple[Tensor, dict[str, Tensor]]:
        selected, mean, _, strength, batch = selection
        if self.gradient == "reversed":
            return backend.replace(inputs, selected, mean, strength), {}
        valid = self._valid(inputs, mask, batch)
        of = inputs, selected, valid, mean, strength, self._reduction_axes, batch
        return backend.deactivate(deactivate_as_defined, *of), {}
