"""Statistics from data, without training.

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

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from keras_mono._internal.as_model import as_model
from keras_mono._internal.data import batches, check
from keras_mono._internal.forward import forward
from keras_mono._internal.model_layers import some_monosemantic_layers
from keras_mono._internal.snapshot import Snapshot
from keras_mono.layers.running_statistics import RunningStatistics


def calibrate(
    model: keras.Model, data: Any, batch_size: int = 32, steps: int | None = None
) -> keras.Model:
    """Fill the statistics of this library's layers from data, without training.

    Every layer is reset and then updates its statistics with each batch of `data` as in
    training, while the model runs at inference: no weight changes, nothing is dropped
    out or inhibited (unless `active="always"`), no penalty is added. After `start_step`
    batches or more, inhibition acts from the first training step on.

    Args:
        model: Any built or unbuilt Keras model with layers of this library, or a
            PyTorch module with adapters.
        data: The model's inputs, as for `analysis.activations`: arrays or tensors, or a
            dataset, loader or generator of batches. In random order: on sorted data a
            moving threshold ends so high that it selects nothing for many batches.
        batch_size: Samples per batch; not used for data that give batches. Later
            batches weigh more than earlier ones, as `forget_steps` says.
        steps: How many batches of `data` to take. None: all.

    Returns:
        The model itself.

    Raises:
        ValueError: if the model has none of this library's layers, and for data of
            unequal or no length, or without end. After an error or an interruption the
            layers have their earlier statistics.
    """
    check(data, batch_size, steps)
    called = as_model(model)
    layers = some_monosemantic_layers(called)
    with _restored_on_error(layers), ExitStack() as stack:
        for layer in layers:
            layer.reset()
            stack.enter_context(layer.listeners.added(layer.update_statistics))
        for batch in batches(data, batch_size, steps):
            forward(called, batch)
    return model


@contextmanager
def _restored_on_error(layers: Sequence[RunningStatistics]) -> Iterator[None]:
    """Restore the statistics if the block raises an error."""
    before = Snapshot(v for x in layers for v in x.saved_variables())
    try:
        yield
    except BaseException:  # also KeyboardInterrupt
        for layer in layers:
            layer.reset()
        before.restore()
        raise
