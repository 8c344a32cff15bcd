"""Every mistake is a `ValueError` before training: expected, received, fix."""

import keras
import numpy as np
import pytest

import keras_mono as km

ALL = [
    km.layers.MonosemanticScale,
    km.layers.MonosemanticInhibition,
    km.layers.MonosemanticPenalty,
]


@pytest.mark.parametrize("steps", [0, -3, 1.5, "10", True])
@pytest.mark.parametrize("name", ["forget_steps", "start_step"])
def test_steps(name, steps):
    message = rf"`{name}` must be a positive integer.*Received: {name}=.*Pass 10"
    with pytest.raises(ValueError, match=message):
        km.layers.MonosemanticInhibition(**{name: steps})


@pytest.mark.parametrize("layer", ALL)
@pytest.mark.parametrize("value", [-0.01, float("nan"), float("inf"), "0.01", None])
def test_compensation(layer, value):
    message = r"`variance_compensation` must be.*Received: variance_compensation="
    with pytest.raises(ValueError, match=message):
        layer(variance_compensation=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True])
def test_strength(value):
    with pytest.raises(ValueError, match=r"`strength` must be a finite.*strength="):
        km.layers.MonosemanticInhibition(strength=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True])
def test_weight(value):
    if value is not None:  # the form's default
        with pytest.raises(ValueError, match=r"`weight` must be.*Received: weight="):
            km.layers.MonosemanticPenalty(weight=value)
    layer = km.layers.MonosemanticPenalty()
    with pytest.raises(ValueError, match=r"`weight` must be.*Received: weight="):
        layer.weight = value


def test_active():
    with pytest.raises(ValueError, match=r"'training'.*'always'.*active='inference'"):
        km.layers.MonosemanticInhibition(active="inference")


@pytest.mark.parametrize("layer", ALL)
@pytest.mark.parametrize("axis", [1.0, "channels", (1, 1), (), True, (1, None)])
def test_axis_that_is_no_axis(layer, axis):
    with pytest.raises(ValueError, match=r"`axis` must be None.*Received: axis="):
        layer(axis=axis)


@pytest.mark.parametrize("layer", ALL)
@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (3, r"between -3 and 2.*\(None, 4, 5\).*Received: axis=3"),
        (-4, r"between -3 and 2.*Received: axis=-4"),
        ((2, -1), r"names an axis twice.*axis=\[2, -1\].*Name each once"),
        (0, r"batch axis.*Received: axis=0.*`axis=-1`"),
        ((-3, 1), r"batch axis.*Received: axis=\[-3, 1\]"),
    ],
)
def test_axis_that_does_not_fit(layer, axis, message):
    with pytest.raises(ValueError, match=message):
        layer(axis=axis)(keras.Input((4, 5)))


@pytest.mark.parametrize("layer", ALL)
def test_unknown_length(layer):
    lengths = r"fixed lengths.*\(None, None, 5\).*`axis=-1`"
    with pytest.raises(ValueError, match=lengths):
        layer(axis=None)(keras.Input((None, 5)))
    with pytest.raises(ValueError, match=r"fixed length.*Received: axis=1.*`axis=-1`"):
        layer(axis=1)(keras.Input((None, 5)))
    assert layer(axis=-1)(keras.Input((None, 5))).shape == (None, None, 5)


@pytest.mark.parametrize("layer", ALL)
def test_an_input_without_neurons(layer):
    with pytest.raises(ValueError, match="batch axis and at least one axis of neu"):
        layer().build((None,))


@pytest.mark.parametrize("layer", ALL)
@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
def test_an_input_that_is_not_float(layer, dtype):
    with pytest.raises(ValueError, match=rf"float input. Rec.*dtype={dtype}.*cast"):
        layer()(keras.Input((5,), dtype=dtype))
    with pytest.raises(ValueError, match=rf"float input. Received: dtype={dtype}"):
        layer()(np.ones((2, 5), dtype), training=True)


@pytest.mark.parametrize(
    ("select", "shape", "limit"),
    [
        (6, (5,), 5),
        (21, (4, 5), 20),
        (km.selectors.TopK(6, per="position"), (4, 5), 5),
        (km.selectors.TopK(6, per="position"), (None, 5), 5),
    ],
)
def test_k_larger_than_the_layer(select, shape, limit):
    layer_class = km.layers.MonosemanticInhibition if limit < 20 else ALL[-1]
    layer = layer_class(select=select, axis=-1)
    message = rf"at most the {limit} .*Received: k=.*smaller"
    with pytest.raises(ValueError, match=message):
        layer(keras.Input(shape))


def test_k_is_clipped_where_the_size_is_unknown():
    layer = km.layers.MonosemanticInhibition(30, axis=-1, start_step=1)
    z = np.random.default_rng(0).normal(size=(4, 2, 5)).astype("float32")
    layer.build((None, None, 5))
    for _ in range(2):
        out = layer(z, training=True)
    assert (keras.ops.convert_to_numpy(out) != z).all()


def test_a_mask_of_too_many_axes():
    layer = km.layers.MonosemanticScale()
    with pytest.raises(ValueError, match=r"`mask` must have at most as many axes"):
        layer(np.ones((2, 3), "float32"), mask=np.ones((2, 3, 1), bool), training=True)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 2)])
def test_a_mask_of_another_shape(shape, training):
    layer = km.layers.MonosemanticScale()
    message = r"`mask` must broadcast.*Received: mask of shape .*\(2, 3\)"
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 3), "float32"), mask=np.ones(shape, bool), training=training)


@pytest.mark.one_backend
@pytest.mark.parametrize("shape", [(64, 1), (8,), (64, 4), (64, 1, 8)])
@pytest.mark.parametrize("training", [False, True])
def test_an_input_of_another_shape(shape, training):
    layer = km.layers.MonosemanticInhibition(start_step=1, name="mine")
    layer(np.ones((64, 8), "float32"), training=True)
    with pytest.raises(ValueError, match=r"'mine' was built for .*\(None, 8\)"):
        layer(np.ones(shape, "float32"), training=training)
    for method in (layer.selected, layer.score, layer.update_statistics):
        with pytest.raises(ValueError, match=r"'mine' was built for .*\(None, 8\)"):
            method(np.ones(shape, "float32"))
    assert int(keras.ops.convert_to_numpy(layer.step)) == 1


@pytest.mark.one_backend
def test_before_it_is_built_a_layer_selects_nothing():
    layer = km.layers.MonosemanticInhibition()
    assert not keras.ops.any(layer.selected(np.ones((4, 3), "float32")))
    assert layer.built
