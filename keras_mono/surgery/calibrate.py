from contextlib import ExitStack
from typing import Any

import keras

from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import batches, check
from keras_mono._internal.model_layers import named_layers
from keras_mono._internal.snapshot import Snapshot
from keras_mono.layers.running_statistics import RunningStatistics


def calibrate(
    model: keras.Model, data: Any, batch_size: int = 32, steps: int | None = None
) -> keras.Model:
    """Fill the statistics of this library's layers from data, without training.

    Every layer forgets what it knew and then learns from each batch of `data` as it
    would in training, while the model runs at inference: no weight changes, nothing is
    dropped out or inhibited (unless `active="always"`), no penalty is added. After
    `start_step` batches or more, inhibition acts from the first training step on.

    Args:
        model: Any built or unbuilt Keras model with layers of this library, or a
            PyTorch module with adapters.
        data: The model's inputs, as for `analysis.activations`: arrays or tensors, or a
            dataset, loader or generator of batches.
        batch_size: Samples a batch; not used for data that give batches. `forget_steps`
            counts batches: the later ones weigh more than the ones before.
        steps: How many batches of `data` to take. None: all.

    Returns:
        The model itself.

    Raises:
        ValueError: if the model has none of this library's layers, and for data of
            unequal or no length, or without end. Then, and when it is interrupted, the
            layers know what they knew before.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu"),
    ...     km.layers.MonosemanticInhibition(name="inhibition"),
    ... ])
    >>> x = np.random.default_rng(0).normal(size=(320, 8)).astype("float32")
    >>> model = km.calibrate(model, x)
    >>> int(model.get_layer("inhibition").step)
    10
    """
    check(data, batch_size, steps)
    called = as_model(model)
    held = named_layers(called).values()
    layers = [x for x in held if isinstance(x, RunningStatistics)]
    if not layers:
        raise ValueError(
            f"Model '{called.name}' has no layer of this library to calibrate. Put one "
            "in, for example with `km.insert_after`, into a PyTorch module with "
            "`keras_mono.torch.Adapter`."
        )
    unbuilt = [x for x in layers if not x.built]
    before = Snapshot(v for x in layers if x.built for v in x.saved_variables())
    try:
        with ExitStack() as stack:
            for layer in layers:
                layer.reset()
                stack.enter_context(layer.listeners.added(layer.update_statistics))
            for batch in batches(data, batch_size, steps):
                called(batch, training=False)
    except BaseException:  # Ctrl-C too must not cost a history
        before.restore()
        for layer in unbuilt:
            layer.reset()
        raise
    return model
