"""`stateless_call` on PyTorch, and tensors that keep no record of their changes."""

import keras
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

import keras_mono as km  # noqa: E402
from support.training import numbers  # noqa: E402


def model(steps=5):
    made = keras.Sequential(
        [
            keras.Input((8,)),
            km.layers.MonosemanticInhibition(0.1, start_step=1, name="inhibition"),
        ]
    )
    for seed in range(steps):
        made(data(seed), training=True)
    return made


def data(seed):
    z = np.random.default_rng(seed).standard_t(3, size=(32, 8))
    return torch.from_numpy(z.astype("float32"))


def state(made):
    return [numbers(v) for v in made.variables]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_stateless_call_changes_nothing_that_it_is_given(enabled):
    made = model()
    made.get_layer("inhibition").enabled = enabled
    given = [v.value for v in made.non_trainable_variables]
    before = state(made)
    results = [made.stateless_call([], given, data(9), training=True) for _ in "12"]
    for one, other in zip(*(after for _, after in results), strict=True):
        np.testing.assert_array_equal(numbers(one), numbers(other))
    for now, then in zip(state(made), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_built_in_inference_mode():
    with torch.inference_mode():
        made = model(steps=0)
        assert tuple(made(data(0)).shape) == (32, 8)


def test_a_neuron_with_one_value_has_no_variance():
    layer = km.layers.MonosemanticScale(axis=None)
    layer.build((None, 3))
    z = torch.full((4, 3), 123.4567)
    mask = torch.zeros((4, 3), dtype=torch.bool)
    mask[:, 0] = True
    layer.update_statistics(z, mask)
    mask[0, 1] = True
    layer.update_statistics(z, mask)
    np.testing.assert_array_equal(numbers(layer.variance)[0, 1:], 0.0)


@pytest.mark.parametrize("method", ["score", "update_statistics"])
def test_another_width_is_an_error(method):
    layer = km.layers.MonosemanticScale()
    layer.build((None, 4))
    with pytest.raises(ValueError, match="was built for inputs of shape"):
        getattr(layer, method)(torch.zeros((8, 1)))
