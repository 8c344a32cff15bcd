import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_mono as km
from support.training import value_and_gradient

FORMS = ["log_phi", "phi"]
SHAPE = (6, 5, 3)


class Penalty(keras.layers.Layer):
    """The penalty as a layer, to get its gradient."""

    def __init__(self, selected, dtype="float32", **options):
        super().__init__(dtype=dtype)
        self.selected, self.options = selected, options

    def build(self, _shape):
        pass

    def call(self, z, training=None):  # noqa: ARG002
        return km.ops.scale_invariant_penalty(z, self.selected, **self.options)


class PenaltyOfAny(Penalty):
    """What is selected is a variable: one compilation serves all of it."""

    def build(self, shape):
        self.selected = self.add_weight(shape, "zeros", "bool", trainable=False)


def penalty_and_gradient(z, selected, **options):
    return value_and_gradient(Penalty(selected, **options), z, np.float32(1))


def oracle(z, selected, valid, of):
    """The definition in float64, neuron by neuron."""
    total = 0.0
    for j in range(z.shape[-1]):
        z_j, valid_j, selected_j = z[..., j], valid[..., j], selected[..., j]
        values = z_j[valid_j]
        if values.size == 0 or values.var() == 0:
            continue
        phi = (z_j - values.mean()) ** 2 / values.var()
        g = phi if of == "phi" else np.log(np.maximum(phi, 1.0))
        total += g[selected_j & valid_j].sum()
    return total / max((selected & valid).sum(), 1)


def closed_form(z, selected, valid, of):
    """The gradient as it is derived on paper, in float64."""
    n = max((selected & valid).sum(), 1)
    gradient = np.zeros(z.shape)
    for j in range(z.shape[-1]):
        here = valid[..., j]
        values, chosen = z[..., j][here], selected[..., j][here]
        d, count, v = values - values.mean(), len(values), values.var()
        pulled = chosen & ((d**2 > v) | (of == "phi"))
        slope = 2 * d / v if of == "phi" else 2 / np.where(pulled, d, 1.0)
        w = np.where(pulled, slope, 0.0)
        g = w - w.sum() / count - d * (w * d).sum() / (count * v)
        gradient[..., j][here] = g / n
    return gradient


def numerical(z, selected, valid, of):
    gradient, step = np.zeros(z.shape), 1e-6
    for index in np.argwhere(valid):
        up, down = z.copy(), z.copy()
        up[tuple(index)] += step
        down[tuple(index)] -= step
        difference = oracle(up, selected, valid, of) - oracle(down, selected, valid, of)
        gradient[tuple(index)] = difference / (2 * step)
    return gradient


def batch(seed, share=0.3, masked=True):
    rng = np.random.default_rng(seed)
    z = rng.standard_t(3, size=SHAPE).astype("float32")
    valid = rng.random(SHAPE) < 0.8 if masked else np.ones(SHAPE, bool)
    return z, rng.random(SHAPE) < share, valid


@given(st.integers(0, 10**6), st.sampled_from(FORMS), st.booleans())
def test_equals_the_definition_and_its_derivatives(seed, of, masked):
    z, selected, valid = batch(seed, masked=masked)
    value, gradient = penalty_and_gradient(z, selected, mask=valid, of=of)
    z = z.astype("float64")
    np.testing.assert_allclose(value, oracle(z, selected, valid, of), rtol=1e-4)
    expected = closed_form(z, selected, valid, of)
    np.testing.assert_allclose(
        gradient, expected, rtol=1e-3, atol=1e-5 * abs(expected).max() + 1e-9
    )


@pytest.mark.parametrize("of", FORMS)
def test_the_closed_form_equals_finite_differences(of):
    z, selected, valid = batch(1)
    z = z.astype("float64")
    np.testing.assert_allclose(
        closed_form(z, selected, valid, of),
        numerical(z, selected, valid, of),
        rtol=1e-5,
        atol=1e-8,
    )


@given(
    st.integers(0, 10**6),
    st.sampled_from(FORMS),
    st.sampled_from([1e-3, 0.5, 30.0]),
    st.sampled_from([-3.0, 0.0, 10.0]),
)
def test_scaling_and_shifting_neurons_change_nothing(seed, of, scale, shift):
    z, selected, valid = batch(seed)
    moved = z * np.array([1.0, scale, -scale], "float32") + np.float32(shift * scale)
    options = {"mask": valid, "of": of}
    value, _ = penalty_and_gradient(z, selected, **options)
    other, _ = penalty_and_gradient(moved, selected, **options)
    np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 10**6), st.sampled_from(FORMS))
def test_the_gradient_has_no_part_along_shift_and_scale(seed, of):
    z, selected, valid = batch(seed)
    _, gradient = penalty_and_gradient(z, selected, mask=valid, of=of)
    gradient = gradient.astype("float64")
    counts = np.maximum(valid.sum(axis=(0, 1)), 1)
    mean = np.where(valid, z, 0).sum(axis=(0, 1)) / counts
    deviation = np.where(valid, z - mean, 0.0)
    size = abs(gradient).sum() + 1e-9
    assert abs(gradient.sum(axis=(0, 1))).max() < 1e-5 * size
    spread = abs(deviation).max()
    assert abs((gradient * deviation).sum(axis=(0, 1))).max() < 1e-5 * size * spread
    assert (gradient[~valid] == 0).all()


@pytest.mark.parametrize("of", FORMS)
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_tiny_and_huge_activations(scale, of):
    z, selected, valid = batch(2)
    value, gradient = penalty_and_gradient(z, selected, mask=valid, of=of)
    options = {"mask": valid, "of": of}
    scaled = (z * np.float64(scale)).astype("float32")
    other, pull = penalty_and_gradient(scaled, selected, **options)
    np.testing.assert_allclose(other, value, rtol=1e-4)
    np.testing.assert_allclose(
        pull.astype("float64") * scale, gradient, rtol=1e-2, atol=1e-5
    )


@pytest.mark.parametrize("of", FORMS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.567, 1e-15, 1e15])
def test_a_constant_neuron_is_not_pulled(constant, of):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 2)).astype("float32")
    z[:, 1] = constant
    selected = rng.random(z.shape) < 0.5
    value, gradient = penalty_and_gradient(z, selected, of=of)
    assert np.isfinite(value)
    assert (gradient[:, 1] == 0).all()
    assert abs(gradient[:, 0]).max() > 0


def test_digits_of_a_narrow_neuron_far_from_zero_are_kept():
    rng = np.random.default_rng(0)
    z = (1000 + 0.01 * rng.standard_t(3, size=(4096, 1))).astype("float32")
    selected = rng.random(z.shape) < 0.1
    value, _ = penalty_and_gradient(z, selected, of="phi")
    expected = oracle(z.astype("float64"), selected, np.ones(z.shape, bool), "phi")
    np.testing.assert_allclose(value, expected, rtol=1e-3)


def test_nan_and_infinity_count_nowhere():
    z, selected, _ = batch(3, masked=False)
    bad = np.zeros(SHAPE, bool)
    bad[0, 0, 0] = bad[1, 2, 1] = bad[2, 2, 2] = True
    selected |= bad
    filled = z.copy()
    filled[0, 0, 0], filled[1, 2, 1], filled[2, 2, 2] = np.nan, np.inf, -np.inf
    value, gradient = penalty_and_gradient(filled, selected)
    other, expected = penalty_and_gradient(z, selected, mask=~bad)
    np.testing.assert_allclose(value, other, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("far", [5.0, 1e6])
def test_the_pull_is_bounded(far):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 1)).astype("float32")
    z[0], z[1] = z.mean(), far
    selected = np.zeros(z.shape, bool)
    selected[:10] = True
    for of, bound in {"log_phi": 2.0, "phi": 2.0 * np.sqrt(1000)}.items():
        _, gradient = penalty_and_gradient(z, selected, of=of)
        assert 0 < abs(gradient).max() <= bound / (10 * z.std())


def test_where_the_pull_points():
    """Inwards everywhere for φ; for its logarithm only below entries / selected."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 1)).astype("float32")
    z[0] = 10.0
    selected = abs(z) >= np.sort(abs(z), axis=0)[-50]  # of 1000: it turns at φ = 20
    for far, sign in ((4.0, 1), (6.0, -1)):
        z[0] = far
        phi = (z[0] - z.mean()) ** 2 / z.var()
        assert (phi < 20) == (sign > 0)
        _, pull = penalty_and_gradient(z, selected, of="phi")
        assert pull[0] > 0
        _, pull = penalty_and_gradient(z, selected, of="log_phi")
        assert np.sign(pull[0]) == sign


def test_nothing_selected_gives_zero_and_zero_gradient():
    z, selected, _ = batch(4)
    value, gradient = penalty_and_gradient(z, np.zeros_like(selected))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    z, selected, _ = batch(5)
    halves = keras.ops.convert_to_numpy(keras.ops.cast(z, dtype)).astype("float32")
    value, gradient = penalty_and_gradient(z, selected, dtype=dtype)
    exact, expected = penalty_and_gradient(halves, selected)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    largest = abs(expected).max()
    np.testing.assert_allclose(gradient, expected, atol=0.01 * largest)


def test_a_step_against_it_lightens_the_tail_and_keeps_the_scale():
    rng = np.random.default_rng(0)
    z = rng.standard_t(3, size=(2000, 8)).astype("float32")
    before = z.std(axis=0)
    layer = PenaltyOfAny(None)
    layer.build(z.shape)
    for _ in range(200):
        deviation = (z - z.mean(axis=0)) / z.std(axis=0)
        selected = deviation**2 > np.quantile(deviation**2, 0.98)
        layer.selected.assign(selected)
        _, gradient = value_and_gradient(layer, z, np.float32(1))
        z = z - 4 * gradient
    kurtosis = (((z - z.mean(axis=0)) / z.std(axis=0)) ** 4).mean()
    assert kurtosis < 4.0
    np.testing.assert_allclose(z.std(axis=0), before, rtol=0.02)


def test_bad_arguments():
    z = np.ones((4, 3), "float32")
    with pytest.raises(ValueError, match="`of` must be one of"):
        km.ops.scale_invariant_penalty(z, z > 0, of="log")
    with pytest.raises(ValueError, match="`selected` must have the shape of `z`"):
        km.ops.scale_invariant_penalty(z, np.ones(4, bool))
    with pytest.raises(ValueError, match="`axis` must not name the batch axis"):
        km.ops.scale_invariant_penalty(z, z > 0, axis=0)
