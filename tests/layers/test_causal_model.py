"""A causal language model stays causal while it trains, if selected per position."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.training import numbers

LENGTH = 8


def causal_model(per, axis):
    tokens = keras.Input((LENGTH,), dtype="int32")
    x = keras.layers.Embedding(30, 16)(tokens)
    for _ in range(2):
        x = keras.layers.Conv1D(16, 3, padding="causal")(x)
        x = km.layers.MonosemanticInhibition(
            km.selectors.TopK(2, per=per), axis=axis, start_step=2
        )(x)
    return keras.Model(tokens, keras.layers.Dense(30)(x))


def training_outputs(model, tokens):
    """Outputs of one training step; the state is put back."""
    state = [numbers(v) for v in model.variables]
    outputs = numbers(model(tokens, training=True))
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)
    return outputs


def changed_before(per, axis, cut):
    """How many outputs before `cut` change when the tokens from there on do."""
    rng = np.random.default_rng(0)
    model = causal_model(per, axis)
    for _ in range(3):
        model(rng.integers(0, 30, size=(16, LENGTH)), training=True)
    tokens = rng.integers(0, 30, size=(16, LENGTH))
    other = tokens.copy()
    other[:, cut:] = rng.integers(0, 30, size=(16, LENGTH - cut))
    plain = numbers(model(tokens, training=False))
    first, second = training_outputs(model, tokens), training_outputs(model, other)
    assert np.abs(first - plain)[:, :cut].max() > 1e-2  # something was inhibited
    return int((np.abs(first - second)[:, :cut] > 1e-5).sum())


@pytest.mark.parametrize(("axis", "cut"), [(-1, 4), (None, 4), (-1, LENGTH - 1)])
def test_per_position_no_output_depends_on_a_later_token(axis, cut):
    assert changed_before("position", axis, cut) == 0


@pytest.mark.parametrize("axis", [-1, None])
def test_per_sample_outputs_do(axis):
    assert changed_before("sample", axis, 4) > 0
