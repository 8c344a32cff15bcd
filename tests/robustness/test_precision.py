"""Statistics in every precision that Keras has, against float64 over a long stream."""

import keras
import numpy as np
import pytest
from hypothesis import settings

import keras_mono as km
from support import small
from support.oracle import Oracle
from support.training import numbers

# 10³ steps; `make soak` runs 10⁵.
STEPS = 1_000 if settings.default.max_examples < 1_000 else 100_000
BATCH, NEURONS = 8, 6
POLICIES = [
    pytest.param(name, marks=pytest.mark.support(f"dtype policy `{name}`", **cells))
    for name, cells in {
        "float32": {},
        "mixed_float16": {},
        "mixed_bfloat16": {},
        "float16": {},
        "bfloat16": {},
        "float64": {"jax": "yes (JAX takes float32 unless `JAX_ENABLE_X64=1`)"},
    }.items()
]


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy(request.param)
    if request.param == "float64":
        keras.config.set_floatx("float64")
    yield request.param
    keras.config.set_dtype_policy(before[0])
    keras.config.set_floatx(before[1])


def stream(dtype, steps):
    """Values that wander and change their scale, as the layer sees them."""
    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 20.0, steps)[:, None, None]
    scale = 2.0 ** np.arange(-3, NEURONS - 3)
    z = rng.normal(size=(steps, BATCH, NEURONS)) * (1.5 + np.sin(t)) * scale
    z = z + 20.0 * np.cos(t / 3) * scale
    return numbers(keras.ops.cast(keras.ops.cast(z, dtype), "float32")).reshape(
        -1, NEURONS
    )


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
def test_no_drift_over_a_long_stream(policy):  # noqa: ARG001
    model = keras.Sequential(
        [
            keras.Input((NEURONS,)),
            km.layers.MonosemanticScale(forget_steps=None, name="endless"),
            km.layers.MonosemanticInhibition(name="forgets"),
            keras.layers.Dense(1),
        ]
    )
    oracle = Oracle(axes=(1,))
    layer, endless = model.get_layer("forgets"), model.get_layer("endless")
    z = stream(layer.compute_dtype, STEPS)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((len(z), 1), "float32")
    model.fit(z, y, batch_size=BATCH, shuffle=False, verbose=0)
    for start in range(0, len(z), BATCH):
        oracle.train(z[start : start + BATCH])
    assert int(numbers(layer.step)) == STEPS
    expect(layer, oracle.mean, oracle.variance)
    whole = z.astype("float64")
    expect(endless, whole.mean(0), whole.var(0, ddof=1))
    for each in (layer, endless):
        assert each.mean.dtype == each.variance.dtype == "float32"


def expect(layer, mean, variance):
    """Means within a thousandth of a standard deviation, variances of their own."""
    deviation = np.abs(numbers(layer.mean) - mean) / np.sqrt(variance)
    assert deviation.max() < 1e-3
    np.testing.assert_allclose(
        numbers(layer.variance), variance.reshape(1, -1), rtol=1e-3
    )


@pytest.mark.parametrize("policy", POLICIES, indirect=True)
@pytest.mark.parametrize("select", [1, 0.1])
def test_what_is_selected_gets_the_mean(policy, select):
    layer = km.layers.MonosemanticInhibition(select, start_step=1)
    rng = np.random.default_rng(0)
    z = rng.normal(3.0, 2.0, size=(6, 16, NEURONS)).astype("float16")
    for part in z[:-1]:
        layer(part.astype("float32"), training=True)
    mean = keras.ops.cast(layer.mean, layer.compute_dtype)
    mean = numbers(keras.ops.cast(mean, "float32"))
    seen = keras.ops.cast(keras.ops.cast(z[-1], layer.compute_dtype), "float32")
    told = numbers(layer.selected(seen))  # top-1: what a batch selects, too
    out = layer(z[-1].astype("float32"), training=True)
    plain = keras.layers.Activation("linear")(z[-1].astype("float32"))
    assert out.dtype == plain.dtype
    assert policy == "float32" or layer.compute_dtype != "float32"
    out, seen = numbers(keras.ops.cast(out, "float32")), numbers(seen)
    changed = out != seen
    means = np.broadcast_to(mean, out.shape)
    np.testing.assert_array_equal(out[changed], means[changed])
    if select == 1:
        np.testing.assert_array_equal(changed, told)
        assert (told.sum(1) >= 1).all()
    assert 0.02 < changed.mean() < 0.3


def overflowing(initial_scale):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((NEURONS,)),
            keras.layers.Dense(8, name="below"),
            km.layers.MonosemanticInhibition(start_step=2, name="inhibition"),
            km.layers.MonosemanticPenalty(0.1, 0.2, start_step=2, name="penalty"),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=initial_scale
    )
    model.compile(optimizer, "mse")
    return model


@pytest.mark.support("`mixed_float16`, a step skipped for overflow")
@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_skipped_steps_do_not_poison(policy):  # noqa: ARG001
    z = stream("float16", 10) / 16
    y = np.ones((len(z), 1), "float32")
    model, calm = overflowing(2.0**100), overflowing(2.0**4)
    before = [numbers(w) for w in model.trainable_variables]
    model.fit(z, y, batch_size=BATCH, shuffle=False, verbose=0)
    for was, now in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(was, numbers(now))  # every step was skipped
    calm.optimizer.learning_rate = 0.0
    calm.fit(z, y, batch_size=BATCH, shuffle=False, verbose=0)
    for name in ("inhibition", "penalty"):
        ours = model.get_layer(name).saved_variables()
        for a, b in zip(ours, calm.get_layer(name).saved_variables(), strict=True):
            assert np.isfinite(numbers(a)).all()
            np.testing.assert_array_equal(numbers(a), numbers(b), err_msg=a.name)


@pytest.mark.support("activations that overflow in half precision")
@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_activations_that_overflow_are_left_out(policy):  # noqa: ARG001
    layer = km.layers.MonosemanticInhibition(start_step=1)
    z = stream("float16", 4).reshape(4, BATCH, NEURONS)
    z[1, 3, 2] = 1e6  # infinite in float16
    for part in z:
        out = layer(part, training=True)
    assert numbers(layer.non_finite) == 1
    assert np.isfinite(numbers(keras.ops.cast(out, "float32"))).all()
    for variable in layer.saved_variables():
        assert np.isfinite(numbers(variable)).all()


@pytest.fixture
def floatx():
    before = keras.config.floatx()
    yield keras.config.set_floatx
    keras.config.set_floatx(before)


@pytest.mark.parametrize("select", [1, 0.1, km.selectors.Random(0.1, seed=0)])
def test_keras_floatx_does_not_change_what_a_layer_computes(select, floatx):
    def state(of):
        floatx(of)
        layer = km.layers.MonosemanticPenalty(
            0.1, select, form="phi", start_step=1, dtype="float32"
        )
        for part in np.split(stream("float32", 40), 40):
            layer(part, training=True)
        return [numbers(variable) for variable in layer.saved_variables()]

    expected = state("float32")
    for of in ("float16", "bfloat16"):
        for a, b in zip(expected, state(of), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6, err_msg=of)


@pytest.mark.parametrize("form", ["relative", "phi", "l2e"])
def test_a_penalty_joins_losses_of_keras_floatx(form, floatx):
    floatx("bfloat16")
    model = keras.Sequential(
        [
            keras.Input((NEURONS,)),
            km.layers.MonosemanticPenalty(0.1, 0.2, form=form, start_step=2),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    z = small.normal(6 * BATCH, NEURONS)
    model.fit(z, z[:, :1], batch_size=BATCH, shuffle=False, verbose=0)
    penalty = model.layers[0].penalty
    assert penalty != 0.0
    assert np.isfinite(penalty)
