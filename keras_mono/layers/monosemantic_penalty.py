import weakref
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mono import selectors
from keras_mono._internal import validation
from keras_mono._internal.setting import Fixed, Setting, SettingOfAnother
from keras_mono._internal.typing import Tensor
from keras_mono.backend import TrainingCall, backend
from keras_mono.layers.selecting_layer import SelectingLayer, Selection
from keras_mono.ops.scale_invariant_penalty import a_replica, penalty_of_valid
from keras_mono.ops.scale_invariant_pull import pull_as_defined

# By the validation data of studies/manipulation_study.py: see docs/choosing.md.
DEFAULT_WEIGHTS = {"relative": 0.07, "phi": 0.003, "log_phi": 0.003, "l2e": 0.003}
_NOT_ADDED = (
    "`penalize` is for what is added to the loss, and a layer with form='relative' "
    "adds nothing: it changes the gradient that passes through its output. Use the "
    "output of the layer, `z = layer(z, training=True)`, or pass form='phi'."
)


@keras.saving.register_keras_serializable(package="keras_mono")
class MonosemanticPenalty(SelectingLayer):
    """Penalizes the most monosemantic activations.

    Put it after the layer whose neurons should become less monosemantic. It passes all
    values through unchanged, so it suits pretraining too; `MonosemanticInhibition`
    replaces activations, which presumes a trained network. The penalty is

    `P = mean over the selected activations of (z - m)² / v`

    with mean m and variance v of the neuron in this very batch and the gradient through
    both. Scaling or shifting a neuron does not change it, so it makes the tails lighter
    and cannot shrink or switch off neurons. By default P is not in the loss: the
    gradient g that comes from behind becomes

    `g + weight · ‖s·g‖ / ‖s·p‖ · p`,  `p = ∂P/∂z`,  `s = √v`

    so that what is added is a share of the loss's own gradient, whatever the scale of
    the loss and of the layer, and ends where that ends. `form="phi"` adds `weight · P`
    to the loss instead; one weight then acts many times as strongly in one network as
    in another (docs/manipulation.md). `form="l2e"` adds L2E's penalty,

    `weight · mean over the selected activations of log (z - mean)²`

    with the neuron's running mean, a constant for the gradient. It also pulls neurons
    to be small: shrinking all of them lowers it without bound, and the most
    monosemantic neurons can come out more so. By default the 2 % of the activations
    with the largest φ are selected, by a moving threshold, which costs a comparison an
    activation:

    `φ = (z - mean)² / (variance + ε · average variance of the layer)`

    Reference: L2E (arXiv:2503.23298); φ, ε and `start_step` from MEmeL
    (arXiv:2312.11560), Def. 3.1, Algs. 1 and 2. The scale-invariant form is this
    library's (docs/method.md).

    Args:
        weight: For `form="relative"` the length of what is added to the gradient as a
            share of the gradient's own, else the factor of the penalty in the loss.
            None: 0.07 for `"relative"` and 0.003 for the others. That of `"relative"`
            was chosen by validation data (docs/choosing.md). A negative one encourages
            what the paper inhibits, as DecPO (arXiv:2406.17969) would have it, and can
            ruin a training.
        form: `"relative"`; `"phi"`, the same penalty in the loss; `"log_phi"` for its
            logarithm, which pulls the largest φ outwards: see
            `km.ops.scale_invariant_penalty`; `"l2e"` for L2E's. Weights of different
            forms are not comparable.
        select: Which activations: a fraction in (0, 1) for all above a moving threshold
            (`MovingThreshold(fraction)`), an integer k for the k largest φ of each
            sample (`TopK(k)`), or a selector.
        axis: Axis or axes that index neurons, as in `BatchNormalization`. `-1`: one
            neuron a channel, batch and positions pooled (L2E). None: every position of
            a sample is a neuron, which needs fixed lengths.
        forget_steps: n_f: the history weighs at most this many times the largest batch
            a neuron has had. None never forgets.
        start_step: l_s: the first `start_step` training batches are only observed.
        variance_compensation: ε ≥ 0: share of the layer's average variance added to
            each neuron's own.
        include_current_batch: False scores a batch against the history before it. True
            lets it join first.
        enabled: False switches the layer off: it observes and adds nothing.
        **kwargs: As in any `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of rank 2 or more, batch first.
        mask: Keras mask, boolean. Masked entries are neither counted nor selected.
            Passed on.
        training: Penalizes and learns if True and the layer is trainable.
        padding_mask: As `mask`, for models that hand padding over as an input of their
            own; not 0 where an entry counts. Not passed on.

    Input shape:
        `(batch, ..., neurons)`. Batch size and, with `axis=-1`, lengths may be unknown.

    Output shape:
        Same as the input; the values too, always.

    Raises:
        ValueError: for arguments out of range (a fraction outside (0, 1), k larger than
            the layer, steps below 1, negative compensation, an `axis` that is out of
            range, repeated or the batch axis), for `axis=None` with an unknown length,
            and for an input that is not float.

    Attributes:
        penalty: What the latest training batch added to the loss, `weight` included; a
            float. With `form="relative"`, which adds nothing, P.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((16,)),
    ...     keras.layers.Dense(32, activation="relu"),
    ...     km.layers.MonosemanticPenalty(name="penalty"),
    ...     keras.layers.Dense(2),
    ... ])
    >>> model.compile("sgd", "mse")
    >>> x = np.random.default_rng(0).normal(size=(96, 16)).astype("float32")
    >>> history = model.fit(x, x[:, :2], batch_size=8, verbose=0)
    >>> model.get_layer("penalty").penalty != 0.0
    True

    Notes:
        With `form="relative"` the loss is that of plain training, and a loop of your
        own needs no change. The other forms are in `loss` but not in `val_loss`:
        nothing is added at inference; a loop of your own must add `model.losses`, as
        for every Keras layer that adds a loss. L2E's logarithm is negative where
        activations are small, so that the loss may fall below 0. Statistics and penalty
        are float32 under every dtype policy. With `trainable=False` nothing is learned
        or added. NaN, infinite and larger than 3.6e16 entries are neither counted nor
        selected. A neuron with one entry in a batch, as at batch size 1 without
        positions, does not vary there: only `form="l2e"` acts on it. A warning says so
        if the first training batch is of this kind and its shape is known.
    """

    _acts_by = "weight"
    weight = Setting(
        validation.factor,
        "Weight in force. Setting it takes effect at the next step.",
    )
    strength = SettingOfAnother("MonosemanticInhibition", instead="weight")
    form = Fixed(
        validation.one_of(
            tuple(DEFAULT_WEIGHTS),
            "Pass 'relative' or 'phi' for the scale-invariant penalty or 'l2e' for the "
            "paper's.",
        ),
        from_start=True,  # the default weight is the form's
    )

    def __init__(
        self,
        weight: float | None = None,
        select: int | float | selectors.Selector = 0.02,
        axis: int | Sequence[int] | None = -1,
        forget_steps: int | None = 10,
        start_step: int = 10,
        variance_compensation: float = 0.01,
        include_current_batch: bool = False,
        enabled: bool = True,
        form: str = "relative",
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
        self.form = form
        self.weight = DEFAULT_WEIGHTS[form] if weight is None else weight
        # By weak references: another step's losses must not live on, nor another
        # layer's be taken for them because it has got their `id`.
        self._added: tuple[weakref.ref[Any], ...] = ()

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self._penalty = self._statistic("penalty", ())

    @property
    def adds_to_loss(self) -> bool:
        """Whether the penalty is a term of the loss; else it is in the gradient."""
        return self.form != "relative"

    @property
    def penalty(self) -> float:
        self.check_present("tell `penalty`")
        return float(ops.convert_to_numpy(self._penalty)) if self.built else 0.0

    def saved_variables(self) -> list[keras.Variable]:
        return [*super().saved_variables(), *([self._penalty] if self.built else [])]

    def _train(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        if self.form != "l2e":
            self._tell_of_single_entries(tuple(inputs.shape))
        result = super()._train(inputs, mask)
        if not self.adds_to_loss:
            return result
        if not TrainingCall(self).repeats:
            # As Keras' own losses, to which TensorFlow adds no other dtype.
            self._add_penalty(ops.cast(result, keras.config.floatx()))
        return inputs

    def _add_penalty(self, penalty: Tensor) -> None:
        self.add_loss(penalty)
        if not any(loss is penalty for loss in self._losses):  # in a stateless scope
            self._added = (*self._added, weakref.ref(penalty))

    def _clear_losses(self) -> None:
        """Keep what earlier calls in the same training step have added.

        In `stateless_call`, as JAX trains, Keras calls each part of a model as if it
        began a step, and clears the losses of a layer that is called again.
        """
        kept = [
            loss
            for loss in self.losses
            if any(loss is added() for added in self._added)
            and not any(loss is own for own in self._losses)
        ]
        super()._clear_losses()
        self._added = ()
        for loss in kept:
            self._add_penalty(loss)

    def penalize(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """What a training batch adds to the loss; learns from the batch.

        A frozen layer (`trainable=False`) does so too: it is asked to.

        `call` does this and hands it to `add_loss`. For loops of your own that cannot
        collect a layer's losses.

        Args:
            inputs, mask: As `z` and `mask` in `score`.

        Returns:
            Scalar, float32, with gradient; `weight` included.

        Raises:
            RuntimeError: with `form="relative"`, which adds nothing.
        """
        if not self.adds_to_loss:
            raise RuntimeError(_NOT_ADDED)
        with self._on_its_device():
            inputs = self._with_its_neurons(inputs)
            self._check_call(inputs)
            mask = None if mask is None else ops.convert_to_tensor(mask)
            return super()._train(inputs, mask)

    def _act(
        self, inputs: Tensor, mask: Tensor | None, selection: Selection
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The inputs with another gradient, or what this replica adds to the loss."""
        selected, mean, remainder, weight, batch = selection
        if self.form == "l2e":
            penalty = backend.log_penalty(inputs, selected, mean, remainder, weight)
            if backend.num_replicas() > 1:
                # The mean over what this replica selects: it may be more or less.
                here = backend.count_true(selected)
                penalty = penalty * (here / a_replica(here))
            return penalty, {"_penalty": penalty}
        valid, axes = self._valid(inputs, mask, batch), self._reduction_axes
        if self.form == "relative":
            of = inputs, selected, valid, weight, axes, batch
            pulled, penalty = backend.pull(pull_as_defined, *of)
            return pulled, {"_penalty": penalty}
        penalty = penalty_of_valid(inputs, selected, valid, axes, self.form, batch)
        penalty = penalty * weight
        return penalty, {"_penalty": penalty}
