"""Inhibition inside a recurrence: fixed statistics in the loop, one update after it.

Held against the same loop written out in Python, with a `MonosemanticInhibition` of its
own for every question.
"""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import mostly_one_backend
from support.training import numbers

BATCH, TIME, FEATURES, UNITS = 6, 5, 4, 3
CELLS = ["GRUCell", "LSTMCell", "SimpleRNNCell"]


def sequences(seed=0, batch=BATCH, time=TIME):
    shape = (batch, time, FEATURES)
    return np.random.default_rng(seed).standard_t(3, size=shape).astype("float32")


def inhibition(**arguments):
    return km.layers.MonosemanticInhibition(**{"start_step": 2, **arguments})


def layer_of(cell="GRUCell", arguments=None, **of_the_loop):
    cell = getattr(keras.layers, cell)(UNITS) if isinstance(cell, str) else cell
    return km.layers.InhibitedRNN(cell, inhibition(**arguments or {}), **of_the_loop)


def written_out(cell, reference, x, mask=None, backwards=False):
    """Outputs and the activations to learn from, step by step, outside any loop."""
    state = cell.get_initial_state(batch_size=len(x))
    state = list(state) if isinstance(state, list | tuple) else [state]
    history = reference.as_pure_function()
    outputs, activations = [], []
    for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
        z, new = cell(x[:, t], state)
        out = history(z)
        new = [out, *(list(new)[1:] if isinstance(new, list | tuple) else [])]
        if mask is not None:
            keep = keras.ops.convert_to_tensor(mask[:, t][:, None])
            new = [keras.ops.where(keep, a, b) for a, b in zip(new, state, strict=True)]
        state = new
        outputs.append(numbers(state[0]))
        activations.append(numbers(z))
    return np.stack(outputs, 1), np.stack(activations, 1)


# Every two of cell, selector and variant.
@pytest.mark.parametrize(
    ("cell", "variant", "select"),
    mostly_one_backend(
        [
            (cell, variant, [1, 0.2][(i + j) % 2])
            for i, cell in enumerate(CELLS)
            for j, variant in enumerate(["plain", "masked", "backwards", "unrolled"])
        ],
        ("GRUCell", "masked", 0.2),
        ("LSTMCell", "backwards", 0.2),
        ("LSTMCell", "plain", 0.2),
        ("SimpleRNNCell", "unrolled", 0.2),
        ("GRUCell", "plain", 1),
    ),
)
def test_it_equals_the_loop_written_out(cell, select, variant):
    loop = {"go_backwards": variant == "backwards", "unroll": variant == "unrolled"}
    arguments = {"select": select}
    layer = layer_of(cell, arguments, return_sequences=True, **loop)
    reference = inhibition(**arguments)
    reference.build((None, UNITS))
    rng = np.random.default_rng(1)
    inhibited = 0
    for seed in range(5):
        x, mask = sequences(seed), None
        if variant == "masked":
            mask = np.arange(TIME) < rng.integers(2, TIME + 1, size=(BATCH, 1))
        given = None if mask is None else keras.ops.convert_to_tensor(mask)
        found = numbers(layer(x, mask=given, training=True))
        expected, z = written_out(
            layer.cell, reference, x, mask, variant == "backwards"
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        rows = z.reshape(-1, UNITS)
        reference.update_statistics(rows, None if mask is None else mask.reshape(-1))
        plain = keras.layers.RNN(layer.cell, return_sequences=True, **loop)
        inhibited += not np.allclose(numbers(plain(x, mask=given)), found, atol=1e-5)
        pairs = zip(
            layer.inhibition.saved_variables(), reference.saved_variables(), strict=True
        )
        for a, b in pairs:
            np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-4, atol=1e-6)
    # From the third batch on; a threshold has to see one before it can select.
    assert inhibited == (3 if select == 1 else 2)


def test_every_time_step_counts_once_and_a_batch_is_a_step():
    layer = layer_of(arguments={"forget_steps": None})
    for seed in range(4):
        layer(sequences(seed), training=True)
    assert int(layer.inhibition.step) == 4
    np.testing.assert_array_equal(numbers(layer.inhibition.count), 4.0 * BATCH * TIME)


def training_model(cell="GRUCell", **of_the_loop):
    inputs = keras.Input((None, FEATURES))
    x = keras.layers.Masking()(inputs)
    x = layer_of(cell, name="recurrent", **of_the_loop)(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "eager"),
    [
        *mostly_one_backend(
            [*((cell, False) for cell in CELLS), ("GRUCell", True)], ("GRUCell", False)
        )
    ],
)
def test_fit_counts_every_batch_once(cell, eager):
    model = training_model(cell, return_sequences=True)
    model.compile("sgd", "mse", run_eagerly=eager)
    x = sequences(batch=24)
    model.fit(x, x[..., :1], batch_size=6, epochs=2, verbose=0)
    layer = model.get_layer("recurrent")
    assert int(layer.inhibition.step) == 8
    model.evaluate(x, x[..., :1], verbose=0)
    model.predict(x, verbose=0)
    assert int(layer.inhibition.step) == 8


def test_dropout_of_the_cell_works():
    cell = keras.layers.GRUCell(UNITS, dropout=0.2, recurrent_dropout=0.2)
    model = training_model(cell)
    model.compile("sgd", "mse")
    model.fit(sequences(batch=12), np.zeros((12, 1)), batch_size=6, verbose=0)
    assert int(model.get_layer("recurrent").inhibition.step) == 2


def test_at_inference_it_is_the_plain_layer():
    layer = layer_of(return_sequences=True, return_state=True)
    for seed in range(4):
        layer(sequences(seed), training=True)
    plain = keras.layers.RNN(layer.cell, return_sequences=True, return_state=True)
    for a, b in zip(layer(sequences(9)), plain(sequences(9)), strict=True):
        np.testing.assert_array_equal(numbers(a), numbers(b))


def test_always_active():
    layer = layer_of(arguments={"active": "always"}, return_sequences=True)
    for seed in range(4):
        layer(sequences(seed), training=True)
    plain = keras.layers.RNN(layer.cell, return_sequences=True)
    assert (numbers(layer(sequences(9))) != numbers(plain(sequences(9)))).any()
    assert int(layer.inhibition.step) == 4


def test_state_is_carried_over_if_stateful():
    layer = layer_of(stateful=True)
    plain = keras.layers.RNN(layer.cell, stateful=True)
    for seed in range(3):
        a, b = layer(sequences(seed)), plain(sequences(seed))
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-6)
    layer(sequences(3), training=True)
    assert int(layer.inhibition.step) == 1


def test_it_is_saved_and_loaded(tmp_path):
    model = training_model("LSTMCell")
    model.compile("sgd", "mse")
    x = sequences(batch=24)
    model.fit(x, np.zeros((24, 1)), batch_size=6, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    kept = [m.get_layer("recurrent").inhibition for m in (model, loaded)]
    for a, b in zip(*(k.saved_variables() for k in kept), strict=True):
        np.testing.assert_array_equal(numbers(a), numbers(b))
    loaded.fit(x, np.zeros((24, 1)), batch_size=6, verbose=0)
    assert int(loaded.get_layer("recurrent").inhibition.step) == 8


def test_surgery_sees_it():
    model = training_model()
    km.calibrate(model, sequences(batch=24), batch_size=6)
    (row,) = km.status(model)
    assert (row["steps"], row["neurons"], row["on"]) == (4, UNITS, True)
    plain = km.strip(model)
    assert len(km.status(plain)) == 0
    assert type(plain.get_layer("recurrent")) is keras.layers.RNN
    x = sequences(5)
    np.testing.assert_array_equal(
        plain.predict(x, verbose=0), model.predict(x, verbose=0)
    )


@keras.saving.register_keras_serializable(package="test")
class OwnCell(keras.layers.Layer):
    """Inhibits what it adds to the state, which is neither its state nor its output."""

    def __init__(self, times=1, **arguments):
        super().__init__(**arguments)
        self.state_size = UNITS
        self.dense = keras.layers.Dense(UNITS)
        self.times = times

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, states, inhibit=None):
        z = self.dense(x)
        for _ in range(self.times):
            z = z if inhibit is None else inhibit(z)
        h = 0.5 * states[0] + z
        return 2.0 * h, [h]


def test_a_cell_of_ones_own_says_what_is_inhibited():
    layer = layer_of(OwnCell(), return_sequences=True)
    for seed in range(3):
        y = numbers(layer(sequences(seed), training=True))
    mean = numbers(layer.inhibition.mean)[0]
    seen = np.concatenate([sequences(s) for s in range(3)]).reshape(-1, FEATURES)
    expected = numbers(layer.cell.dense(seen)).mean(0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-5)
    assert y.shape == (BATCH, TIME, UNITS)


@pytest.mark.parametrize("times", [0, 2])
def test_a_cell_that_inhibits_not_once_is_an_error(times):
    with pytest.raises(ValueError, match="must apply `inhibit` once a step"):
        layer_of(OwnCell(times))(sequences(), training=True)


class OtherOutput(OwnCell):
    def call(self, x, states):
        h = 0.5 * states[0] + self.dense(x)
        return 2.0 * h, [h]


def test_an_output_that_is_no_state_is_an_error():
    with pytest.raises(ValueError, match="is none of its new states"):
        layer_of(OtherOutput())(sequences(), training=True)


def test_both_directions():
    layer = keras.layers.Bidirectional(layer_of(return_sequences=True))
    for seed in range(3):
        y = layer(sequences(seed), training=True)
    assert tuple(y.shape) == (BATCH, TIME, 2 * UNITS)
    for one in (layer.forward_layer, layer.backward_layer):
        assert int(one.inhibition.step) == 3


def test_bad_arguments():
    cell = keras.layers.GRUCell(UNITS)
    with pytest.raises(ValueError, match="must be a `MonosemanticInhibition` or None"):
        km.layers.InhibitedRNN(cell, km.layers.MonosemanticPenalty())
    with pytest.raises(ValueError, match="Stack `InhibitedRNN` layers instead"):
        km.layers.InhibitedRNN([cell, keras.layers.GRUCell(2)], inhibition())
    with pytest.raises(ValueError, match="`cell` must be an RNN cell"):
        km.layers.InhibitedRNN(keras.layers.GRU(UNITS), inhibition())
    with pytest.raises(ValueError, match="`include_current_batch=False`"):
        km.layers.InhibitedRNN(cell, inhibition(include_current_batch=True))


class ByHand(keras.layers.Layer):
    """What does not work: a layer with statistics inside the cell."""

    def __init__(self, inside, **arguments):
        super().__init__(**arguments)
        self.state_size = FEATURES
        self.inside = inside

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x, states, training=None):
        h = self.inside(0.5 * states[0] + x, training=training)
        return h, [h]


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize(
    "inside",
    [
        km.layers.MonosemanticInhibition,
        km.layers.MonosemanticScale,
        km.layers.MonosemanticPenalty,
    ],
)
def test_a_plain_layer_in_a_cell_is_an_error_that_shows_the_way(inside, unroll):
    layer = keras.layers.RNN(ByHand(inside()), unroll=unroll)
    with pytest.raises(ValueError, match=r"(?s)recurrence.*km\.layers\.InhibitedRNN"):
        layer(sequences(), training=True)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"(?s)recurrence.*km\.layers\.InhibitedRNN"):
        model.fit(sequences(), np.zeros((BATCH, FEATURES)), verbose=0)


def test_the_monitor_sees_the_activations_of_the_loop():
    model = training_model()
    model.compile("sgd", "mse")
    x = sequences(batch=24)
    monitor = km.callbacks.MonosemanticityMonitor(x)
    history = model.fit(x, np.zeros((24, 1)), verbose=0, callbacks=[monitor])
    (name,) = (row["layer"] for row in km.status(model))
    assert history.history[f"{name}_ms_top1"][0] > 1.0
    assert not model.get_layer("recurrent").inhibition.listeners
    assert int(model.get_layer("recurrent").inhibition.step) == 1
