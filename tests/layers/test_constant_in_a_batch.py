"""A neuron that is constant in a batch has no scale there, wherever its mean was."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import normal
from support.training import value_and_gradient

# Operation by operation, JAX compiles each shape anew.
ROWS = [24] if keras.config.backend() == "jax" else [24, 1000]


class Penalized(keras.layers.Layer):
    """Adds the penalty to each output, so that it has a gradient there."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.supports_masking = True

    def get_config(self):
        return self.layer.get_config()

    def call(self, z, mask=None, training=None):  # noqa: ARG002
        z = keras.ops.convert_to_tensor(z)  # where the penalty is
        return z + self.layer.penalize(z, mask)


def watched(form):
    options = {"axis": -1, "start_step": 2}
    if form == "inhibition":
        return km.layers.MonosemanticInhibition(
            0.3, gradient="scale_invariant", **options
        )
    return km.layers.MonosemanticPenalty(0.3, 0.3, form=form, **options)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", ["relative", "phi", "log_phi", "inhibition"])
@pytest.mark.parametrize("rows", ROWS)
def test_it_gets_the_gradient_unchanged(form, rows, masked):
    """As saturated and dead units are: far from the mean of the batches before."""
    z = normal(5, rows, 4)
    z[..., 0] += 3.3
    z[-1, :, :3] = 0.0, 0.1, -1.7
    mask = np.arange(rows) % 3 > 0 if masked else None
    upstream, layer = normal(rows, 4, seed=1), watched(form)
    layer.build((rows, 4))
    for batch in z[:-1]:
        layer.update_statistics(batch, mask)
    called = Penalized(layer) if form.endswith("phi") else layer
    _, gradient = value_and_gradient(called, z[-1], upstream, mask=mask)
    np.testing.assert_array_equal(gradient[:, :3], upstream[:, :3])
    assert np.abs(gradient[:, 3] - upstream[:, 3]).max() > 1e-4


@pytest.mark.parametrize("jump", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("rows", [32, 4096])
def test_a_neuron_all_of_which_is_selected_is_not_pulled(rows, jump):
    """It varies little, far from where it was: its mean must not be taken for more."""
    z = normal(10, rows, 2)
    z[-1, :, 0] = 20.0 + z[-1, :, 0] * 20.0 / jump
    upstream = normal(rows, 2, seed=1)
    layer = km.layers.MonosemanticPenalty(0.1, 1, form="relative", start_step=2)
    layer.build((rows, 2))
    for batch in z[:-1]:
        layer.update_statistics(batch)
    _, gradient = value_and_gradient(layer, z[-1], upstream)
    assert layer.penalty == pytest.approx(1.0, rel=1e-3)  # the mean φ of all entries
    np.testing.assert_array_equal(gradient, upstream)
