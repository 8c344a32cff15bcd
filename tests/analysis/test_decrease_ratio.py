"""One step's effect, against the same steps taken by hand."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_mono as km
from support.small import labelled_data, normal

RATE = 0.01


def trained(optimizer=None):
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu", name="hidden"),
            km.layers.MonosemanticInhibition(start_step=3, name="inhibition"),
            keras.layers.Dense(10, name="out"),
        ]
    )
    for name in ("hidden", "out"):  # the same on every device
        kernel = model.get_layer(name).kernel
        kernel.assign(normal(*kernel.shape, seed=2) * kernel.shape[0] ** -0.5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss)
    model.fit(x, y, batch_size=64, epochs=2, shuffle=False, verbose=0)
    return model, x[:200], y[:200]


def by_hand(model, x, y, strength):
    """Activations after one SGD step of a two-layer network, in NumPy."""
    w, b, v, c = (np.array(a, "float64") for a in weights(model))
    layer = model.get_layer("inhibition")
    mean = keras.ops.convert_to_numpy(layer.mean).astype("float64")
    before = x @ w + b
    z = np.maximum(before, 0)
    selected = keras.ops.convert_to_numpy(layer.selected(z.astype("float32")))
    out, factor = z, np.ones_like(z)
    if strength is not None:
        out = np.where(selected, mean, z)
        factor = np.where(selected, -strength, 1.0)
    logits = out @ v + c
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    error = (share - np.eye(10)[y]) / len(x)
    gradient = (error @ v.T) * factor * (before > 0)
    new = np.maximum(x @ (w - RATE * x.T @ gradient) + b - RATE * gradient.sum(0), 0)
    decrease = 1 - ((new - mean) / (z - mean))[selected] ** 2
    update = np.abs(new[selected] / z[selected] - 1)
    return 100 * decrease.mean(), 100 * update[np.isfinite(update)].mean()


def weights(model):
    hidden, out = model.get_layer("hidden"), model.get_layer("out")
    return [
        keras.ops.convert_to_numpy(v)
        for v in (hidden.kernel, hidden.bias, out.kernel, out.bias)
    ]


def test_it_equals_steps_taken_by_hand():
    model, x, y = trained()
    table = km.analysis.decrease_ratio(model, "inhibition", x, y, [1.0, -1.0, 5.0])
    methods = [None, 1.0, -1.0, 5.0]
    assert [row["method"] for row in table][:2] == ["plain", "strength 1"]
    plain = None
    for row, strength in zip(table, methods, strict=True):
        assert row["batches"] == 3  # of 64; the other 8 samples are left over
        parts = [
            by_hand(model, x[a : a + 64], y[a : a + 64], strength) for a in (0, 64, 128)
        ]
        decrease, update = np.array(parts).T
        plain = decrease if plain is None else plain
        np.testing.assert_allclose(row["decrease_ratio"], decrease.mean(), rtol=1e-3)
        np.testing.assert_allclose(row["update_ratio"], update.mean(), rtol=1e-3)
        if strength is not None:
            more = decrease - plain
            np.testing.assert_allclose(row["more_than_plain"], more.mean(), rtol=1e-3)
            error = more.std(ddof=1) / np.sqrt(3)
            np.testing.assert_allclose(row["standard_error"], error, rtol=1e-2)
    rd, naive = table[1]["more_than_plain"], table[2]["more_than_plain"]
    assert rd > 0 > naive


def sequences():
    """Padded with activations that stand out, and trained."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    tokens = random.integers(1, 20, (96, 6))
    tokens[np.arange(6) >= random.integers(1, 7, 96)[:, None]] = 0
    inputs = keras.Input((6,), dtype="int32")
    z = keras.layers.Embedding(20, 5, mask_zero=True, name="embedding")(inputs)
    layer = km.layers.MonosemanticInhibition(2, axis=-1, start_step=2, name="layer")
    pooled = keras.layers.GlobalAveragePooling1D()(layer(z))
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    table = keras.ops.convert_to_numpy(model.get_layer("embedding").embeddings).copy()
    table[0] = 5.0
    model.get_layer("embedding").embeddings.assign(table)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    y = random.normal(size=(96, 1)).astype("float32")
    model.fit(tokens, y, batch_size=32, verbose=0)
    return model, tokens, y


def test_padding_takes_no_part():
    model, x, y = sequences()
    (row, _) = km.analysis.decrease_ratio(model, "layer", x, y, batch_size=32)
    layer, embedding = model.get_layer("layer"), model.get_layer("embedding")
    z = keras.ops.convert_to_numpy(embedding.embeddings)[x]
    selected = keras.ops.convert_to_numpy(layer.selected(z, x != 0))
    assert row["activations"] == selected.sum() > 100
    assert keras.ops.convert_to_numpy(layer.selected(z)).sum() > selected.sum()


@pytest.mark.one_backend
def test_a_batch_of_which_nothing_is_selected_is_left_out():
    model, x, y = trained()
    x[64:128] = 0.0  # of which the mean is what the layer gets: φ is 0
    layer = model.get_layer("inhibition")
    layer.mean.assign(np.maximum(weights(model)[1], 0.0)[None])
    layer.mean_compensation.assign(np.zeros((1, 32)))
    _, row = km.analysis.decrease_ratio(model, "inhibition", x, y)
    more = [
        np.subtract(by_hand(model, *batch, 1.0), by_hand(model, *batch, None))[0]
        for batch in ((x[:64], y[:64]), (x[128:192], y[128:192]))
    ]
    assert row["batches"] == 2
    np.testing.assert_allclose(row["more_than_plain"], np.mean(more), rtol=1e-3)
    error = np.std(more, ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(row["standard_error"], error, rtol=1e-2)


def test_the_model_is_as_before():
    model, x, y = trained(keras.optimizers.Adam(0.01))
    layer = model.get_layer("inhibition")
    layer.strength = 2.0
    everything = [*model.variables, *model.optimizer.variables]
    before = [keras.ops.convert_to_numpy(v).copy() for v in everything]
    km.analysis.decrease_ratio(model, "inhibition", x, y)
    for variable, value in zip(everything, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert layer.enabled
    assert layer.strength == 2.0


@pytest.mark.one_backend
def test_other_layers_take_no_part():
    """Plain is plain: what another layer of ours would do is in none of the steps."""
    model, x, y = trained()
    other = km.layers.MonosemanticInhibition(20, start_step=1, name="other")
    inputs, (hidden, watched, out) = keras.Input((64,)), model.layers
    both = keras.Model(inputs, out(watched(other(hidden(inputs)))))
    both.compile(keras.optimizers.SGD(RATE), model.loss)
    km.calibrate(both, x, 64)
    assert other.enabled
    ratios = [
        (row["decrease_ratio"], row["update_ratio"])
        for row in km.analysis.decrease_ratio(both, "inhibition", x, y)
    ]
    assert other.enabled
    other.enabled = False
    alone = km.analysis.decrease_ratio(both, "inhibition", x, y)
    for row, found in zip(alone, ratios, strict=True):
        assert (row["decrease_ratio"], row["update_ratio"]) == pytest.approx(found)
    assert not other.enabled


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "hidden"}, "must name a MonosemanticInhibition"),
        ({"batch_size": 201}, "at least one batch"),
        ({"y": np.zeros(3)}, "same samples"),
        ({"layer": "nowhere"}, "hidden"),
        ({"strength": []}, "`strength` must be a number or several"),
    ],
)
def test_bad_input(change, message):
    model, x, y = trained()
    arguments = {"layer": "inhibition", "x": x, "y": y, **change}
    with pytest.raises(ValueError, match=message):
        km.analysis.decrease_ratio(model, **arguments)


def test_a_layer_that_has_not_started():
    model, x, y = trained()
    model.get_layer("inhibition").reset()
    with pytest.raises(ValueError, match="seen 0 batches, starts after 3"):
        km.analysis.decrease_ratio(model, "inhibition", x, y)
    other = keras.Model(model.inputs, model.outputs)
    with pytest.raises(ValueError, match="not compiled"):
        km.analysis.decrease_ratio(other, "inhibition", x, y)


def test_steps_with_dropout_are_paired():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, name="hidden"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"])
    z, _ = labelled_data()
    x, y = z.astype("float32"), z[:, :1]
    model.fit(x, y, batch_size=30, verbose=0)
    before = [keras.ops.convert_to_numpy(v) for v in model.metrics_variables]
    rows = list(
        km.analysis.decrease_ratio(model, "inhibition", x, y, [1.0, 1.0, 1.0], 30)
    )
    ratios = {row["decrease_ratio"] for row in rows[1:]}
    assert len(ratios) == 1
    for variable, value in zip(model.metrics_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    x[0] = np.nan  # the first batch's loss, and so its step, is NaN
    rows = km.analysis.decrease_ratio(model, "inhibition", x, y, batch_size=30)
    assert [row["batches"] for row in rows] == [2, 2]
