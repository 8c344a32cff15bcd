"""What Keras offers around training: each works, or fails with a clear error."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

BACKEND = keras.config.backend()
STEPS = 12


def data():
    x = small.normal(96, 8)
    return x, x[:, :2]


def network(**options):
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu", name="below"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            km.layers.MonosemanticPenalty(start_step=2, name="penalty"),
            keras.layers.Dense(2, name="above"),
        ]
    )
    compile_(model, **options)
    return model


def compile_(model, optimizer=None, **options):
    model.compile(optimizer or keras.optimizers.SGD(0.01), "mse", **options)


def fit(model):
    small.fit(model, *data())
    return model


def steps(model):
    return [int(numbers(model.get_layer(n).step)) for n in ("inhibition", "penalty")]


def same_statistics(model, other):
    for name in ("inhibition", "penalty"):
        ours = model.get_layer(name).saved_variables()
        theirs = other.get_layer(name).saved_variables()
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(
                numbers(a), numbers(b), rtol=1e-4, atol=1e-5, err_msg=a.name
            )


@pytest.mark.support("gradient accumulation")
def test_every_batch_counts_when_gradients_accumulate():
    accumulating = keras.optimizers.SGD(0.0, gradient_accumulation_steps=3)
    model = fit(network(optimizer=accumulating))
    assert steps(model) == [STEPS, STEPS]
    plain = network(optimizer=keras.optimizers.SGD(0.0))
    plain.set_weights(model.get_weights())
    for name in ("inhibition", "penalty"):
        plain.get_layer(name).reset()
    same_statistics(model, fit(plain))


@pytest.mark.support("EMA of weights (`use_ema`)")
def test_statistics_are_not_averaged_with_the_weights():
    averaging = keras.optimizers.SGD(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=STEPS
    )
    model = network(optimizer=averaging)
    start = model.get_weights()
    fit(model)
    assert steps(model) == [STEPS, STEPS]
    plain = network()
    plain.set_weights(start)
    fit(plain)
    same_statistics(model, plain)
    kernels = [numbers(m.get_layer("below").kernel) for m in (model, plain)]
    assert not np.allclose(*kernels, atol=1e-4)


@pytest.mark.support(
    "`steps_per_execution`", torch="Keras' error: must be 1 on PyTorch"
)
def test_several_steps_an_execution():
    if BACKEND == "torch" and keras.__version__ < "3.16":
        with pytest.raises(ValueError, match="must be 1 with the PyTorch backend"):
            fit(network(steps_per_execution=4))
        return
    assert steps(fit(network(steps_per_execution=4))) == [STEPS, STEPS]


@pytest.mark.support("`trainable` switched between fits (compile again)")
def test_a_layer_is_frozen_and_thawed():
    model = fit(network())
    layer = model.get_layer("inhibition")
    layer.trainable = False
    compile_(model)
    before = [numbers(v) for v in layer.saved_variables()]
    fit(model)
    for was, now in zip(before, layer.saved_variables(), strict=True):
        np.testing.assert_array_equal(was, numbers(now))
    layer.trainable = True
    compile_(model)
    assert steps(fit(model)) == [2 * STEPS, 3 * STEPS]


@pytest.mark.support("`enabled` switched in the middle of a run")
def test_inhibition_is_switched_by_batch():
    class Switch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            self.model.get_layer("inhibition").enabled = batch >= STEPS // 2

    model = network()
    model.fit(*data(), batch_size=8, verbose=0, callbacks=[Switch()])
    assert model.get_layer("inhibition").enabled
    assert steps(model) == [STEPS, STEPS]


@pytest.mark.support("`layer.reset()` between fits")
def test_reset():
    model = fit(network())
    for name in ("inhibition", "penalty"):
        model.get_layer(name).reset()
    assert steps(model) == [0, 0]
    assert steps(fit(model)) == [STEPS, STEPS]


CHECKED = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}


def checkpointed(mode, **options):
    with keras.RematScope(mode=mode, **options):
        return network()


@pytest.mark.support(
    "`RematScope` of other layers", tensorflow="Keras' error, for plain models too"
)
def test_rematerialization_of_other_layers():
    if BACKEND == "tensorflow":
        for made in (
            lambda: checkpointed("list_of_layers", layer_names=["below"]),
            plain_checkpointed,
        ):
            with pytest.raises(ValueError, match="custom_gradient decorator"):
                fit(made())
        return
    model = checkpointed("list_of_layers", layer_names=["below", "above"])
    weights = model.get_weights()
    fit(model)
    assert steps(model) == [STEPS, STEPS]
    plain = network()
    plain.set_weights(weights)
    same_statistics(model, fit(plain))


def plain_checkpointed():
    with keras.RematScope(mode="list_of_layers", layer_names=["below"]):
        layers = [keras.Input((8,)), keras.layers.Dense(2, name="below")]
        model = keras.Sequential(layers)
        compile_(model)
    return model


@pytest.mark.support("`RematScope` that names our layer (it is not computed again)")
def test_our_layers_are_not_rematerialized():
    names = ["inhibition", "penalty"]
    model = checkpointed("list_of_layers", layer_names=names)
    assert steps(fit(model)) == [STEPS, STEPS]


@pytest.mark.support(
    "`RematScope` around a whole model with our layer",
    jax="Keras' error, BatchNormalization too",
    tensorflow="Keras' error, BatchNormalization too",
)
def test_rematerialization_of_a_model_that_holds_our_layer():
    if BACKEND == "torch":
        model, plain = checkpointed("full"), network()
        plain.set_weights(model.get_weights())
        losses = [m.fit(*data(), **CHECKED).history["loss"] for m in (model, plain)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        assert steps(model) == [2 * STEPS, 2 * STEPS]
        same_statistics(model, plain)
        for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        return

    def whole(layer):
        with keras.RematScope(mode="full"):
            model = keras.Sequential([keras.Input((8,)), layer, keras.layers.Dense(2)])
            compile_(model)
            fit(model)

    ours = km.layers.MonosemanticInhibition(start_step=2)
    for layer in (ours, keras.layers.BatchNormalization()):
        with pytest.raises((RuntimeError, ValueError)) as error:
            whole(layer)
        expected = {"jax": "automatically build", "tensorflow": "custom_gradient"}
        assert expected[BACKEND] in str(error.value)


@pytest.mark.support("LoRA (`enable_lora`) beside our layers, saved and loaded")
def test_lora(tmp_path):
    model = fit(network())
    model.get_layer("below").enable_lora(2)
    compile_(model)
    fit(model)
    assert steps(model) == [2 * STEPS, 2 * STEPS]
    again(model, tmp_path)


def again(model, tmp_path):
    """The model from a file, and the plain one, give the same."""
    x, _ = data()
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    assert steps(loaded) == steps(model)
    plain = km.strip(model)
    np.testing.assert_array_equal(plain.predict(x, verbose=0), expected)


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=pytest.mark.support(f"`quantize('{mode}')`, saved"))
        for mode in ("int8", "int4", "float8")
    ],
)
def test_quantization(mode, tmp_path):
    model = fit(network())
    model.quantize(mode)
    again(model, tmp_path)


@pytest.mark.support("training a quantized model by LoRA")
def test_quantized_model_trains_by_lora():
    model = network()
    model.quantize("int8")
    model.get_layer("below").enable_lora(2)
    compile_(model)
    assert steps(fit(model)) == [STEPS, STEPS]
