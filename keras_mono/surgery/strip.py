import keras

from keras_mono._internal.model_layers import (
    is_monosemantic_layer,
    monosemantic_layers,
)
from keras_mono.layers.inhibited_rnn import InhibitedRNN
from keras_mono.surgery.compilation import compile_like
from keras_mono.surgery.places import check_graph
from keras_mono.surgery.rebuild import Rebuilding


def strip(model: keras.Model) -> keras.Model:
    """A new model without any of this library's layers, nested models included.

    It has the class, name and compilation of `model` and shares its other layers and
    weights. Its predictions are the same, bit for bit, unless a layer has
    `active="always"`. A recurrent layer loses its `inhibition`.

    Args:
        model: Functional or Sequential model.

    Returns:
        The new model; an equal one if there was nothing to take out.

    Raises:
        ValueError: for a subclassed model, whose `call` cannot be rebuilt, and for
            layers of ours inside other layers.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((8,)),
    ...     keras.layers.Dense(16, activation="relu", name="hidden"),
    ...     km.layers.MonosemanticInhibition(),
    ... ])
    >>> [layer.name for layer in km.strip(model).layers]
    ['hidden']
    """
    check_graph(model, _ADVICE)
    stripped = _Removal().rebuilt(model)
    if left := [*monosemantic_layers(stripped)]:
        raise ValueError(
            f"The layers {left} of this library sit inside other layers, such as an "
            "activation, `Bidirectional` or `TimeDistributed`, from where they cannot "
            "be taken out. At inference they pass values through. For a model without "
            "them, build those layers without them and load the weights."
        )
    return compile_like(model, stripped)


_ADVICE = (
    "At inference this library's layers pass values through, so it may be used as it "
    "is. For a model without them, leave them out where its class makes and calls "
    "them, and load the weights."
)


class _Removal(Rebuilding):
    """Removes this library's layers."""

    def replace(self, layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if is_monosemantic_layer(layer):
            return None
        if isinstance(layer, InhibitedRNN) and layer.inhibition is not None:
            return layer.without_inhibition()
        return layer
