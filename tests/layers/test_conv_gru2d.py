"""ConvGRU2D against a plain NumPy ConvGRU, and with inhibition of its candidate."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import mostly_one_backend
from support.training import numbers

BATCH, TIME, ROWS, COLUMNS, CHANNELS, FILTERS = 3, 4, 7, 6, 2, 3


def can_put_channels_first():
    """TensorFlow on a CPU: where its oneDNN kernels are on, by the processor's kind."""
    convolution = keras.layers.Conv2D(1, 1, data_format="channels_first")
    if keras.config.backend() != "tensorflow":
        return True
    try:
        convolution(np.zeros((1, 1, 2, 2), "float32"))
    except Exception:
        return False
    return True


CAN_PUT_CHANNELS_FIRST = can_put_channels_first()


def frames(seed=0, batch=BATCH, first=False):
    shape = (batch, TIME, ROWS, COLUMNS, CHANNELS)
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    return np.moveaxis(x, -1, 2) if first else x


def layer_of(**arguments):
    return km.layers.ConvGRU2D(FILTERS, **{"kernel_size": 3, **arguments})


def convolve(x, kernel, strides=(1, 1), padding="same", dilation=(1, 1)):
    """Channels last, in float64."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape[:2], dilation, strict=True)]
    if padding == "same":
        lengths = [-(-n // s) for n, s in zip(x.shape[1:3], strides, strict=True)]
        missing = [
            max((m - 1) * s + k - n, 0)
            for m, s, k, n in zip(lengths, strides, spans, x.shape[1:3], strict=True)
        ]
        around = [(m // 2, m - m // 2) for m in missing]
        x = np.pad(x, ((0, 0), *around, (0, 0)))
    rows = range(0, x.shape[1] - spans[0] + 1, strides[0])
    columns = range(0, x.shape[2] - spans[1] + 1, strides[1])
    out = np.zeros((len(x), len(rows), len(columns), kernel.shape[3]))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            part = x[
                :,
                r : r + spans[0] : dilation[0],
                c : c + spans[1] : dilation[1],
            ]
            out[:, i, j] = np.tensordot(part, kernel, 3)
    return out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def conv_gru(layer, x, mask=None):
    """All states, `(batch, time, rows, columns, filters)`, in NumPy."""
    cell = layer.cell
    weights = [numbers(w).astype("float64") for w in cell.weights]
    kernel, recurrent = weights[:2]
    bias = weights[2] if cell.use_bias else 0.0
    given = {"strides": cell.strides, "padding": cell.padding}
    h, states = None, []
    order = reversed(range(TIME)) if layer.go_backwards else range(TIME)
    for t in order:
        from_x = convolve(x[:, t], kernel, dilation=cell.dilation_rate, **given) + bias
        h = np.zeros_like(from_x[..., :FILTERS]) if h is None else h
        xu, xr, xc = np.split(from_x, 3, -1)
        hu, hr, hc = np.split(convolve(h, recurrent), 3, -1)
        update, reset = sigmoid(xu + hu), sigmoid(xr + hr)
        candidate = xc + reset * hc
        candidate = np.where(candidate > 0, candidate, 0.2 * candidate)
        new = (1 - update) * candidate + update * h
        h = new if mask is None else np.where(mask[:, t, None, None, None], new, h)
        states.append(h)
    return np.stack(states, 1)


VARIANTS = {
    "valid": {},
    "same": {"padding": "same"},
    "strides": {"padding": "same", "strides": 2},
    "dilation": {"padding": "same", "dilation_rate": 2},
    "kernel": {"kernel_size": (1, 3)},
    "bias": {"use_bias": False},
    "forget": {"unit_forget_bias": True},
    "backwards": {"go_backwards": True},
    "unrolled": {"unroll": True},
}


@pytest.mark.parametrize(
    "variant", mostly_one_backend(VARIANTS, "same", "strides", "dilation", "backwards")
)
@pytest.mark.parametrize("inhibited", mostly_one_backend([False, True], True))
def test_without_inhibition_it_equals_numpy(variant, inhibited):
    kept = km.layers.MonosemanticInhibition() if inhibited else None
    layer = layer_of(**VARIANTS[variant], return_sequences=True, inhibition=kept)
    found = numbers(layer(frames(), training=inhibited))  # not started yet
    np.testing.assert_allclose(found, conv_gru(layer, frames()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_outputs_and_their_shapes(sequences, state):
    layer = layer_of(padding="same", return_sequences=sequences, return_state=state)
    found = layer(frames())
    expected = conv_gru(layer, frames())
    wanted = [expected if sequences else expected[:, -1]]
    wanted += [expected[:, -1]] if state else []
    shapes = layer.compute_output_shape(frames().shape)
    shapes = shapes if state else [shapes]
    found = found if state else [found]
    for a, b, shape in zip(found, wanted, shapes, strict=True):
        np.testing.assert_allclose(numbers(a), b, rtol=1e-4, atol=1e-5)
        assert tuple(shape) == b.shape


def test_a_mask_holds_the_state():
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]], bool)
    layer = layer_of(padding="same", return_sequences=True)
    given = keras.ops.convert_to_tensor(mask)
    found = numbers(layer(frames(), mask=given))
    expected = conv_gru(layer, frames(), mask)
    np.testing.assert_allclose(found[:, -1], expected[:, -1], rtol=1e-4, atol=1e-5)


def test_masked_steps_are_not_counted():
    layer = layer_of(padding="same", inhibition=km.layers.MonosemanticInhibition())
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 1], [1, 1, 1, 1]], bool)
    layer(frames(), mask=keras.ops.convert_to_tensor(mask), training=True)
    np.testing.assert_array_equal(numbers(layer.inhibition.count), mask.sum())


@pytest.mark.skipif(CAN_PUT_CHANNELS_FIRST, reason="this backend can")
def test_tensorflow_may_have_no_channels_first_on_a_cpu():
    """Its own error, the same for `keras.layers.Conv2D`."""
    x = frames(first=True)
    for layer, given in (
        (layer_of(data_format="channels_first"), x),
        (keras.layers.Conv2D(3, 3, data_format="channels_first"), x[:, 0]),
    ):
        with pytest.raises(Exception, match="NHWC tensor format"):
            layer(given)


@pytest.mark.skipif(not CAN_PUT_CHANNELS_FIRST, reason="TensorFlow without oneDNN")
@pytest.mark.parametrize("inhibited", [False, True])
def test_channels_first(inhibited):
    def make(data_format):
        kept = km.layers.MonosemanticInhibition(start_step=1) if inhibited else None
        return layer_of(
            data_format=data_format,
            padding="same",
            return_sequences=True,
            inhibition=kept,
        )

    last, first = make("channels_last"), make("channels_first")
    last.build(frames().shape)
    first.build(frames(first=True).shape)
    first.cell.set_weights(last.cell.get_weights())
    for seed in range(3):
        a = numbers(last(frames(seed), training=True))
        b = numbers(first(frames(seed, first=True), training=True))
        np.testing.assert_allclose(np.moveaxis(b, 2, -1), a, rtol=1e-4, atol=1e-5)


def test_stateful():
    layer = layer_of(padding="same", stateful=True)
    two = np.concatenate([frames(0), frames(1)], axis=1)
    layer(frames(0))
    found = numbers(layer(frames(1)))
    plain = layer_of(padding="same")
    plain.build(two.shape)
    plain.cell.set_weights(layer.cell.get_weights())
    np.testing.assert_allclose(found, numbers(plain(two)), rtol=1e-4, atol=1e-5)


def test_the_candidate_is_inhibited_as_in_the_loop_written_out():
    layer = layer_of(
        padding="same",
        return_sequences=True,
        inhibition=km.layers.MonosemanticInhibition(start_step=1),
    )
    cell, kept = layer.cell, layer.inhibition
    layer(frames(0), training=True)
    before = kept.as_pure_function()
    state, outputs = cell.get_initial_state(BATCH), []
    for t in range(TIME):
        y, state = cell(
            keras.ops.convert_to_tensor(frames(1)[:, t]), state, inhibit=before
        )
        outputs.append(numbers(y))
    found = numbers(layer(frames(1), training=True))
    np.testing.assert_allclose(found, np.stack(outputs, 1), rtol=1e-5, atol=1e-6)
    assert (found != numbers(layer(frames(1)))).any()
    assert int(kept.step) == 2
    np.testing.assert_array_equal(numbers(kept.count), 2.0 * BATCH * TIME)


@pytest.mark.parametrize("axis", [None, -1])
def test_training_saving_and_stripping(tmp_path, axis):
    kept = km.layers.MonosemanticInhibition(axis=axis, start_step=1)
    model = keras.Sequential(
        [
            keras.Input((None, ROWS, COLUMNS, CHANNELS)),
            layer_of(
                padding="same",
                dropout=0.1,
                recurrent_dropout=0.1,
                inhibition=kept,
                name="gru",
            ),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x = frames(batch=12)
    model.fit(x, np.zeros((12, 1)), batch_size=4, verbose=0)
    (row,) = km.status(model)
    assert row["steps"] == 3
    assert row["neurons"] == (ROWS * COLUMNS * FILTERS if axis is None else FILTERS)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    assert list(km.status(loaded)) == [row]
    plain = km.strip(model)
    assert len(km.status(plain)) == 0
    assert type(plain.get_layer("gru")) is km.layers.ConvGRU2D
    np.testing.assert_array_equal(plain.predict(x, verbose=0), expected)


def test_the_config_round_trip():
    layer = layer_of(
        strides=2,
        padding="same",
        kernel_regularizer="l2",
        activity_regularizer="l1",
        bias_initializer="ones",
        recurrent_dropout=0.25,
        seed=3,
        unit_forget_bias=True,
        inhibition=km.layers.MonosemanticInhibition(0.1, axis=-1),
        return_state=True,
        dtype="mixed_bfloat16",
    )
    again = km.layers.ConvGRU2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"kernel_size": 9}, frames().shape, "output size would be zero or negative"),
        ({}, (None, None, None, 6, 2), "needs fixed rows, columns and channels"),
        ({"filters": 0}, frames().shape, "filters"),
        ({"strides": 2, "dilation_rate": 2}, frames().shape, "strides"),
    ],
)
def test_bad_arguments(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        km.layers.ConvGRU2D(**{"filters": 3, "kernel_size": 3, **arguments}).build(
            shape
        )
