"""A Keras mask that reaches a recurrent layer reaches ours behind it, or it is said."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km

TOKENS = np.array([[1, 2, 0, 0, 0], [1, 2, 3, 0, 0]])  # 5 of 10 count
LOST = "counts padding"


class Ending(keras.layers.GRU):
    """What Keras 3.16 makes of every recurrent layer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_masking = False


class EndingTime(keras.layers.TimeDistributed):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_masking = False


class EndingBoth(keras.layers.Bidirectional):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.supports_masking = False


class Marks(keras.layers.Layer):
    """Steps of a sequence of images that are not empty."""

    def compute_mask(self, inputs, previous_mask=None):  # noqa: ARG002
        return keras.ops.any(keras.ops.not_equal(inputs, 0.0), axis=(2, 3, 4))

    def call(self, inputs):
        return inputs * 1.0


def network(layer, **options):
    ids = keras.Input((5,))
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    x = keras.layers.Dropout(0.0)(layer(embedding(ids)))
    if options.pop("handed_over", False):
        options["padding_mask"] = keras.ops.not_equal(ids, 0)
    outputs = km.layers.MonosemanticScale(axis=-1, name="ours")(x, **options)
    model = keras.Model(ids, outputs)
    model.compile("sgd", "mse")
    return model


def counted(model):
    model.fit(TOKENS, np.zeros((2, *model.output_shape[1:])), verbose=0)
    count = model.get_layer("ours").count
    return float(keras.ops.convert_to_numpy(count).ravel()[0])


def inhibited(**options):
    inhibition = km.layers.MonosemanticInhibition(start_step=1)
    return km.layers.InhibitedRNN(keras.layers.GRUCell(3), inhibition, **options)


def told(layer, **options):
    """The number of our warnings, and what counted."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        number = counted(network(layer, **options))
    return sum(LOST in str(w.message) for w in found), number


@pytest.mark.parametrize("inner", [inhibited, keras.layers.RNN])
def test_a_mask_passes_through_an_inhibited_recurrence(inner):
    layer = inhibited(return_sequences=True)
    if inner is keras.layers.RNN:
        layer = km.layers.InhibitedRNN(keras.layers.GRUCell(3), return_sequences=True)
    assert layer.supports_masking
    assert told(layer) == (0, 5.0)


def test_a_mask_passes_through_a_convolutional_recurrence():
    x = np.zeros((2, 3, 4, 4, 1), "float32")
    x[0, :1] = x[1] = 1.0  # 4 of 6 steps
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            Marks(),
            km.layers.ConvGRU2D(2, 3, return_sequences=True),
            km.layers.MonosemanticScale(axis=-1, name="ours"),
        ]
    )
    model(x, training=True)
    count = keras.ops.convert_to_numpy(model.get_layer("ours").count)
    assert count.ravel().tolist() == [16.0, 16.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ending(3, return_sequences=True),
        pytest.param(
            lambda: EndingTime(keras.layers.Dense(3)), marks=pytest.mark.one_backend
        ),
        pytest.param(
            lambda: EndingBoth(keras.layers.GRU(3, return_sequences=True)),
            marks=pytest.mark.one_backend,
        ),
    ],
    ids=["recurrent", "time distributed", "bidirectional"],
)
def test_a_mask_that_ends_is_told_once(make):
    assert told(make()) == (1, 10.0)
    assert told(make(), handed_over=True) == (0, 5.0)


def test_a_layer_without_positions_has_no_mask_to_pass_on():
    assert told(Ending(3)) == (0, 2.0)


def test_a_layer_that_is_told_to_passes_its_mask_on():
    layer = keras.layers.GRU(3, return_sequences=True)
    layer.supports_masking = True
    assert told(layer) == (0, 5.0)


@pytest.mark.parametrize("how", ["called", "functional"])
def test_a_padding_mask_does_not_end_the_mask_of_keras(how):
    """An entry counts where both say so, and a `mask` that is given is the mask."""
    padding = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])  # of 5, 3 count in both
    layer = km.layers.MonosemanticScale(axis=-1, name="ours")
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    if how == "called":
        marks = keras.ops.convert_to_tensor(padding)
        layer(embedding(TOKENS), padding_mask=marks, training=True)
    else:
        ids, marks = keras.Input((5,)), keras.Input((5,), name="padding_mask")
        model = keras.Model([ids, marks], layer(embedding(ids), padding_mask=marks))
        model.compile("sgd", "mse")
        model.fit([TOKENS, padding], np.zeros((2, 5, 4)), verbose=0)
    assert float(keras.ops.convert_to_numpy(layer.count).ravel()[0]) == 3
    if how == "called":
        layer.reset()
        layer(embedding(TOKENS), mask=marks > 0, training=True)
        assert float(keras.ops.convert_to_numpy(layer.count).ravel()[0]) == 6
