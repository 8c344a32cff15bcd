import keras

from keras_mono.layers.running_statistics import RunningStatistics


@keras.saving.register_keras_serializable(package="keras_mono")
class MonosemanticScale(RunningStatistics):
    """Measures monosemantic neurons: passes values through and keeps statistics.

    Put it anywhere in a model to watch the activations there. While training it updates
    each neuron's mean and variance; `score(z)` then tells how monosemantic an
    activation is:

    `φ = (z - mean)² / (variance + ε · average variance of the layer)`

    The mean of φ is about 1 for every neuron; look at its tail (see
    `MonosemanticityMonitor`).

    Reference: MEmeL (arXiv:2312.11560), Def. 3.1, Lemma 3.2, Alg. 1.

    Args:
        axis: Axis or axes that index neurons, as in `BatchNormalization`. None: every
            position of a sample is a neuron (the paper's reading), which needs fixed
            lengths. `-1`: one neuron a channel, batch and positions pooled.
        forget_steps: n_f: the history weighs at most this many times the largest batch
            a neuron has had. None never forgets.
        variance_compensation: ε ≥ 0: share of the layer's average variance added to
            each neuron's own.
        **kwargs: As in any `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of rank 2 or more, batch first.
        mask: Keras mask, boolean. Masked entries are not counted. Passed on.
        training: Statistics move if True and the layer is trainable.
        padding_mask: As `mask`, for models that hand padding over as an input of their
            own; not 0 where an entry counts. Not passed on.

    Input shape:
        `(batch, ..., neurons)`. Batch size and, with `axis=-1`, lengths may be unknown.

    Output shape:
        Same as the input; the values too, always.

    Raises:
        ValueError: for an `axis` that is out of range, repeated or the batch axis, for
            `axis=None` with an unknown length, for steps or compensation out of range,
            and for an input that is not float.

    Example:

    >>> layer = km.layers.MonosemanticScale(axis=-1)
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> for _ in range(3):
    ...     y = layer(x, training=True)
    >>> int(layer.step)
    3
    >>> phi = keras.ops.convert_to_numpy(layer.score(x))
    >>> bool(0.8 < phi.mean() < 1.1)
    True

    Notes:
        Statistics are float32 under every dtype policy. With `trainable=False` no state
        moves, as in `BatchNormalization`. NaN, infinite and larger than 3.6e16 entries
        are not counted; `non_finite` tells how many there were.
    """
