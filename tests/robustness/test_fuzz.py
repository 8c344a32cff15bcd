"""What must hold for any shape, axis, selector, dtype, mask and size of batch."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_mono as km
from support.oracle import Oracle
from support.small import cases_each_backend
from support.training import numbers, value_and_gradient

LAYERS = ("inhibition", "penalty", "scale")


@st.composite
def cases(draw):
    """A layer with its options, and the shapes of the batches that it gets."""
    rank = draw(st.integers(1, 3))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank)))
    axes = range(1, rank + 1)
    axis = draw(st.none() | st.sampled_from([-1, *axes]) | st.just(tuple(axes)))
    size = int(np.prod(shape))
    selectors = [
        st.integers(1, min(3, size)).map(km.selectors.TopK),
        st.sampled_from([0.05, 0.3, 0.9]).map(km.selectors.MovingThreshold),
    ]
    if axis in (-1, rank):
        channels = st.integers(1, shape[-1])
        selectors.append(channels.map(lambda k: km.selectors.TopK(k, per="position")))
    return {
        "shape": shape,
        "kind": draw(st.sampled_from(LAYERS)),
        "select": draw(st.one_of(selectors)),
        "dtype": draw(st.sampled_from(["float32", "float16", "bfloat16"])),
        "options": {
            "axis": axis,
            "forget_steps": draw(st.sampled_from([None, 1, 10])),
            "variance_compensation": draw(st.sampled_from([0.0, 0.01, 1.0])),
        },
        "strength": draw(st.sampled_from([-3.0, -1.0, 0.0, 1.0, 100.0])),
        "sizes": draw(st.lists(st.integers(0, 5), min_size=2, max_size=4)),
        "masked": draw(st.sampled_from(["no", "samples", "entries"])),
        "bad": draw(st.sampled_from([None, np.nan, np.inf, -np.inf])),
        "exponent": draw(st.integers(-3, 3)),
        "seed": draw(st.integers(0, 10**6)),
    }


def layer_of(case):
    options = {**case["options"], "dtype": case["dtype"]}
    if case["kind"] == "scale":
        return km.layers.MonosemanticScale(**options)
    options |= {"select": case["select"], "start_step": 1}
    if case["kind"] == "penalty":
        return km.layers.MonosemanticPenalty(0.1, **options)
    return km.layers.MonosemanticInhibition(strength=case["strength"], **options)


def batches(case):
    """`(z, mask)`: z as the layer's dtype keeps it."""
    rng = np.random.default_rng(case["seed"])
    for size in case["sizes"]:
        z = rng.normal(2.0, 1.0, size=(size, *case["shape"])) * 10.0 ** case["exponent"]
        z = numbers(keras.ops.cast(keras.ops.cast(z, case["dtype"]), "float32"))
        if case["bad"] is not None and z.size and rng.random() < 0.7:
            z.reshape(-1)[rng.integers(z.size)] = case["bad"]
        masks = {
            "no": None,
            "samples": rng.random(size) < 0.7,
            "entries": rng.random(z.shape) < 0.7,
        }
        yield z, masks[case["masked"]]


def in_training(layer, z, mask):
    """The layer's output in its own dtype; compiled on JAX, which is faster."""
    if keras.config.backend() != "jax":
        return layer(z, mask=mask, training=True)
    return value_and_gradient(layer, z, np.zeros(z.shape), mask=mask)[0]


@pytest.mark.slow
@settings(max_examples=cases_each_backend())
@given(cases())
def test_any_case(case):
    layer = layer_of(case)
    layer.build((None, *case["shape"]))
    neurons = [a for a in range(1, 1 + len(case["shape"])) if layer.mean.shape[a] > 1]
    every = tuple(a for a in range(1, 1 + len(case["shape"])))
    axis = case["options"]["axis"]
    if axis is not None:
        given_axes = axis if isinstance(axis, tuple) else (axis,)
        every = tuple(a % (len(case["shape"]) + 1) for a in given_axes)
    assert set(neurons) <= set(every)
    compensation = case["options"]["variance_compensation"]
    oracle = Oracle(
        axes=every,
        forget_steps=case["options"]["forget_steps"] or np.inf,
        variance_compensation=compensation,
    )
    for z, mask in batches(case):
        out = in_training(layer, z, mask)
        mean_before = None if oracle.count is None else oracle.mean
        oracle.train(z, mask=mask)
        check_output(case, layer, z, mask, numbers(keras.ops.cast(out, "float32")))
        assert mean_before is None or np.isfinite(mean_before).all()
    check_state(layer, oracle, case)


def check_output(case, layer, z, mask, out):
    assert out.shape == z.shape
    changed = ~((out == z) | (np.isnan(out) & np.isnan(z)))
    assert not changed[~np.isfinite(z)].any()
    if case["kind"] != "inhibition":
        assert not changed.any()
    if mask is not None:
        assert not changed[~mask].any()
    assert np.isfinite(out[changed]).all()
    for variable in layer.saved_variables():
        assert np.isfinite(numbers(variable)).all(), variable.name


def check_state(layer, oracle, case):
    np.testing.assert_allclose(numbers(layer.count), oracle.count, rtol=1e-6)
    scale = 10.0 ** case["exponent"]
    np.testing.assert_allclose(
        numbers(layer.mean), oracle.mean, rtol=1e-4, atol=1e-5 * scale
    )
    np.testing.assert_allclose(
        numbers(layer.variance), oracle.variance, rtol=1e-3, atol=1e-6 * scale**2
    )
    assert int(numbers(layer.step)) == len(case["sizes"])


@given(st.integers(-49, 49), st.integers(0, 10**6))
def test_magnitudes_are_exact(exponent, seed):
    """From 1e-15 to 1e15, all follows the unit: to the bit, in powers of two."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(4, size=(3, 8, 5)).astype("float32")
    unit = np.float32(2.0**exponent)
    both = []
    for factor in (np.float32(1.0), unit):
        layer = km.layers.MonosemanticInhibition(2, start_step=1)
        outs = [numbers(layer(part * factor, training=True)) for part in z]
        assert numbers(layer.non_finite) == 0
        both.append([*outs, numbers(layer.mean), numbers(layer.mean_compensation)])
        both[-1].append(numbers(layer.variance) / factor / factor)
    for name, one, other in zip("123mrv", *both, strict=True):
        expected = one if name == "v" else one * unit
        np.testing.assert_array_equal(expected, other, err_msg=name)


@pytest.mark.parametrize("magnitude", [1e17, 1e25, 1e30, 1e-20, 1e-25, 1e-30])
@pytest.mark.parametrize("select", [1, 0.5])
def test_beyond_them_values_are_finite_and_never_selected(magnitude, select):
    rng = np.random.default_rng(0)
    layer = km.layers.MonosemanticInhibition(select, start_step=1)
    for _ in range(4):
        z = rng.uniform(1.0, 9.0, size=(8, 5)) * rng.choice([-1.0, 1.0], size=(8, 5))
        z = (z * magnitude).astype("float32")
        np.testing.assert_array_equal(numbers(layer(z, training=True)), z)
    too_large = 4 * 8 * 5 if magnitude > 1 else 0
    assert numbers(layer.non_finite) == too_large
    np.testing.assert_array_equal(numbers(layer.count).sum(), 4 * 8 * 5 - too_large)
    for variable in layer.saved_variables():
        assert np.isfinite(numbers(variable)).all()


def test_the_same_seed_gives_the_same_bits():
    def trained():
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.Dense(8),
                km.layers.MonosemanticInhibition(2, start_step=1),
                km.layers.MonosemanticPenalty(0.1, 0.2, start_step=1),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        x = np.random.default_rng(0).normal(size=(80, 6)).astype("float32")
        model.fit(x, x[:, :1], batch_size=8, epochs=2, verbose=0)
        return model.get_weights()

    for a, b in zip(trained(), trained(), strict=True):
        np.testing.assert_array_equal(a, b)
