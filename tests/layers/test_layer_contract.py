"""What every layer of the library promises, whatever it measures or changes."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.contract import check_layer_contract
from support.training import numbers, value_and_gradient

LAYERS = [
    km.layers.MonosemanticScale,
    km.layers.MonosemanticInhibition,
    km.layers.MonosemanticPenalty,
]
SELECTING = LAYERS[1:]
STATE = ("mean", "variance", "count", "max_batch_count", "mean_compensation")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def state(layer):
    return {v.name: numbers(v) for v in layer.variables}


def assert_same_state(layer, before):
    for name, value in state(layer).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def trained(layer_class, *shape, **arguments):
    """A layer that has seen five batches, and the last of them."""
    if layer_class in SELECTING:
        arguments = {"start_step": 1, **arguments}
    layer = layer_class(**arguments)
    for seed in range(5):
        z = normal(*shape, seed=seed)
        layer(z, training=True)
    return layer, z


@pytest.mark.parametrize(
    ("layer_class", "arguments", "input_shape", "weights"),
    [  # weights without settings
        (km.layers.MonosemanticScale, {}, (2, 3), 7),
        (km.layers.MonosemanticScale, {"axis": -1}, (2, 3, 4), 7),
        (km.layers.MonosemanticScale, {"axis": (1, 3)}, (2, 3, 4, 5), 7),
        (km.layers.MonosemanticInhibition, {"start_step": 1}, (2, 3), 7),
        (
            km.layers.MonosemanticInhibition,
            {"select": 0.1, "axis": -1, "start_step": 1},
            (2, 3, 4),
            8,
        ),
        (km.layers.MonosemanticPenalty, {"start_step": 1}, (2, 3, 4), 9),
        (
            km.layers.MonosemanticPenalty,
            {
                "weight": 0.5,
                "select": 2,
                "axis": None,
                "forget_steps": None,
                "start_step": 1,
                "variance_compensation": 0.0,
                "include_current_batch": True,
            },
            (2, 3, 4),
            8,
        ),
        (
            km.layers.MonosemanticInhibition,
            {
                "select": 2,
                "strength": 5.0,
                "axis": (-1, 1),
                "forget_steps": None,
                "start_step": 1,
                "variance_compensation": 0.0,
                "include_current_batch": True,
                "active": "always",
            },
            (2, 3, 4),
            7,
        ),
    ],
)
def test_keras_contract(layer_class, arguments, input_shape, weights):
    # PyTorch has a module's variables as parameters, which settings are not.
    settings = 2 * (layer_class in SELECTING and keras.config.backend() != "torch")
    check_layer_contract(
        layer_class,
        arguments,
        input_shape,
        expected_num_non_trainable_weights=weights,
        expected_num_non_trainable_variables=weights + settings,
    )


def test_config_holds_every_argument():
    arguments = {
        "select": km.selectors.TopK(3, per="position"),
        "strength": 2.5,
        "axis": (-1, 1),
        "forget_steps": None,
        "start_step": 4,
        "variance_compensation": 0.5,
        "include_current_batch": True,
        "active": "always",
        "name": "here",
        "dtype": "mixed_bfloat16",
        "trainable": False,
    }
    layer = km.layers.MonosemanticInhibition(**arguments)
    again = type(layer).from_config(layer.get_config())
    assert (again.select.k, again.select.per) == (3, "position")
    assert list(again.axis) == [-1, 1]
    for name in arguments.keys() - {"select", "axis", "dtype"}:
        assert getattr(again, name) == arguments[name], name
    assert again.dtype_policy.name == "mixed_bfloat16"
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize(
    ("policy", "compute"),
    [("mixed_bfloat16", "bfloat16"), ("float16", "float16")],
)
def test_half_precision_keeps_float32_statistics(layer_class, policy, compute):
    rng = np.random.default_rng(0)
    layer = layer_class(dtype=policy, forget_steps=None)
    layer.build((None, 8))
    stream = keras.ops.cast(rng.normal(3.0, 1.0, size=(20, 4, 8)), compute)
    for z in stream:
        out = layer(z, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == compute
    for name in STATE:
        assert getattr(layer, name).dtype == "float32"
    values = numbers(keras.ops.cast(stream, "float32")).reshape(-1, 8)
    values = values.astype("float64")
    np.testing.assert_allclose(numbers(layer.mean)[0], values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(
        numbers(layer.variance)[0], values.var(0, ddof=1), rtol=1e-4
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_inhibits(policy):
    layer, z = trained(km.layers.MonosemanticInhibition, 16, 6, dtype=policy)
    mean = keras.ops.cast(layer.mean, layer.compute_dtype)
    mean = np.broadcast_to(numbers(keras.ops.cast(mean, "float32")), z.shape)
    cast = keras.ops.cast(z, layer.compute_dtype)
    chosen = numbers(layer.selected(cast))
    out, gradient = value_and_gradient(layer, z, np.ones(z.shape))
    out, kept = out.astype("float32"), numbers(keras.ops.cast(cast, "float32"))
    assert (chosen.sum(1) >= 1).all()
    np.testing.assert_array_equal(out, np.where(chosen, mean, kept))
    np.testing.assert_array_equal(gradient, np.where(chosen, -1.0, 1.0))


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("training", [False, None])
def test_inference_is_the_identity_and_moves_no_state(layer_class, training):
    layer, z = trained(layer_class, 16, 6)
    before = state(layer)
    loud = z * 100
    out, gradient = value_and_gradient(layer, loud, z, training=training)
    np.testing.assert_array_equal(out, loud)
    np.testing.assert_array_equal(gradient, z)
    assert_same_state(layer, before)
    given = keras.ops.convert_to_tensor(loud)
    assert layer(given, training=training) is given


@pytest.mark.parametrize("layer_class", LAYERS)
def test_not_trainable_means_inference(layer_class):
    layer, z = trained(layer_class, 16, 6)
    before = state(layer)
    layer.trainable = False
    out, gradient = value_and_gradient(layer, z * 100, z)
    np.testing.assert_array_equal(out, z * 100)
    np.testing.assert_array_equal(gradient, z)
    assert_same_state(layer, before)
    layer.trainable = True
    layer(z, training=True)
    assert numbers(layer.step) == before["step"] + 1


@pytest.mark.parametrize("trainable", [True, False])
def test_always_active_inhibits_at_inference_without_moving_state(trainable):
    layer, z = trained(km.layers.MonosemanticInhibition, 16, 6, active="always")
    layer.trainable = trainable
    before = state(layer)
    chosen = numbers(layer.selected(z))
    out, gradient = value_and_gradient(layer, z, np.ones(z.shape), training=False)
    assert (chosen.sum(1) >= 1).all()
    mean = np.broadcast_to(before["mean"], z.shape)
    np.testing.assert_array_equal(out, np.where(chosen, mean, z))
    np.testing.assert_array_equal(gradient, np.where(chosen, -1.0, 1.0))
    assert_same_state(layer, before)


@pytest.mark.parametrize("active", ["training", "always"])
def test_before_start_step_nothing_is_inhibited_at_all(active):
    layer = km.layers.MonosemanticInhibition(start_step=6, active=active)
    for seed in range(5):
        layer(normal(16, 6, seed=seed), training=True)
    loud = normal(16, 6) * 50
    np.testing.assert_array_equal(numbers(layer(loud, training=False)), loud)
    assert not numbers(layer.selected(loud)).any()


def test_score_and_selected_move_no_state_and_agree_with_the_call():
    layer, z = trained(km.layers.MonosemanticInhibition, 16, 4, 3, select=2)
    mask = np.arange(4) < np.arange(16)[:, None] % 4 + 1
    before = state(layer)
    phi, chosen = numbers(layer.score(z, mask)), numbers(layer.selected(z, mask))
    assert_same_state(layer, before)
    variance = before["variance"].astype("float64")
    expected = (z - before["mean"].astype("float64")) ** 2
    expected = expected / (variance + 0.01 * variance.mean()) * mask[:, :, None]
    np.testing.assert_allclose(phi, expected, rtol=1e-4)
    kth = np.sort(phi.reshape(16, -1), axis=1)[:, -2]
    np.testing.assert_array_equal(chosen, phi >= kth[:, None, None])
    out = numbers(layer(z, mask=mask, training=True))
    np.testing.assert_array_equal(out != z, chosen)


@pytest.mark.parametrize("layer_class", LAYERS)
def test_score_takes_statistics_before_the_batch_and_half_precision(layer_class):
    layer, z = trained(layer_class, 16, 6)
    phi = layer.score(keras.ops.cast(z, "bfloat16"))
    assert keras.backend.standardize_dtype(phi.dtype) == "float32"
    np.testing.assert_allclose(
        numbers(phi), numbers(layer.score(z)), rtol=0.05, atol=0.05
    )


@pytest.mark.parametrize("layer_class", LAYERS)
def test_reset_forgets_everything_but_the_settings(layer_class):
    layer, _ = trained(layer_class, 16, 6)
    layer(np.full((2, 6), np.nan, "float32"), training=True)
    if layer_class is km.layers.MonosemanticInhibition:
        layer.strength = 7.0
    layer.reset()
    for name, value in state(layer).items():
        if name not in ("strength", "weight", "enabled"):
            assert not value.any(), name
    again = layer_class()
    for seed in (7, 8):
        layer(normal(16, 6, seed=seed), training=True)
        again(normal(16, 6, seed=seed), training=True)
    for name in (*STATE, "step", "non_finite"):
        np.testing.assert_array_equal(
            numbers(getattr(layer, name)), numbers(getattr(again, name))
        )
    if layer_class is km.layers.MonosemanticInhibition:
        assert layer.strength == 7.0


def test_reset_before_building_does_nothing():
    layer = km.layers.MonosemanticScale()
    layer.reset()
    assert not layer.built


def test_strength_can_be_set_before_and_after_building():
    layer = km.layers.MonosemanticInhibition(start_step=1)
    layer.strength = 3.0
    assert layer.strength == 3.0
    layer(normal(16, 6), training=True)
    assert layer.strength == 3.0
    for strength in (3.0, -2.0):
        layer.strength = strength
        z = normal(16, 6, seed=1)
        _, gradient = value_and_gradient(layer, z, np.ones(z.shape))
        assert set(np.unique(gradient)) == {-strength, 1.0}
    with pytest.raises(ValueError, match=r"`strength` must be a finite"):
        layer.strength = float("nan")
    assert layer.strength == -2.0


@pytest.mark.parametrize("layer_class", LAYERS)
def test_statistics_are_not_trainable(layer_class):
    layer, _ = trained(layer_class, 16, 6)
    assert layer.trainable_variables == []
    assert len(layer.non_trainable_variables) == len(layer.variables)


class Mask(keras.layers.Layer):
    """Shows the mask that a layer receives."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        return keras.ops.zeros_like(inputs) + keras.ops.cast(mask, "float32")[..., None]


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_masks_are_passed_on(layer_class, training):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, Mask()(layer_class(axis=-1)(x)))
    tokens = np.array([[1, 2, 0, 0, 0], [0, 4, 5, 0, 6]])
    out = numbers(model(tokens, training=training))
    np.testing.assert_array_equal(out[:, :, 0], tokens != 0)


def test_the_output_shape_is_told_without_a_call():
    layer = km.layers.MonosemanticScale()
    assert layer.compute_output_shape((None, 3)) == (None, 3)
    block = keras.Sequential([keras.layers.Dense(8), km.layers.MonosemanticPenalty()])
    assert block.compute_output_shape((None, 3)) == (None, 8)


def test_time_distributed_over_a_functional_input():
    inputs = keras.Input((5, 8))
    layer = km.layers.MonosemanticInhibition(start_step=1)
    outputs = keras.layers.TimeDistributed(layer)(inputs)
    assert outputs.shape == (None, 5, 8)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    x = np.ones((6, 5, 8), "float32")
    model.fit(x, x, verbose=0)
    assert int(layer.step) == 5


def test_a_model_of_integers_is_an_error_where_it_is_built():
    with pytest.raises(ValueError, match="expected a float input"):
        km.layers.MonosemanticScale()(keras.Input((3,), dtype="int32"))
