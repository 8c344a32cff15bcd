"""Which positions and samples the loss of an ablation counts."""

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import Calls, dtype_policy

A = km.analysis
LENGTH, WORDS = 6, 7
LABELS = np.arange(40) % 2


def tokens():
    """Texts of 1 to 6 words, with 0 behind their end."""
    rng = np.random.default_rng(0)
    kept = np.arange(LENGTH) < rng.integers(1, LENGTH + 1, size=(40, 1))
    return rng.integers(1, WORDS, size=(40, LENGTH)) * kept


def targets():
    return np.random.default_rng(1).integers(WORDS, size=(40, LENGTH))


def cross_entropy(**options):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)


def network(*layers, mask_zero=True):
    """A word is told from each position; "words" has eight neurons."""
    keras.utils.set_random_seed(0)
    spread = keras.initializers.RandomNormal(stddev=1.0)
    embedding = keras.layers.Embedding(
        WORDS, 8, spread, mask_zero=mask_zero, name="words"
    )
    last = keras.layers.Dense(WORDS)
    model = keras.Sequential([keras.Input((LENGTH,)), embedding, *layers, last])
    model.compile("sgd", cross_entropy())
    return model


def by_position(model, x, y):
    """The cross-entropy at each position, in NumPy."""
    z = keras.ops.convert_to_numpy(model(x)).astype("float64")
    return cross_entropies(z, y)


def cross_entropies(z, y):
    z = z.reshape(*y.shape, WORDS)
    chosen = np.take_along_axis(z, y[..., None], axis=-1)[..., 0]
    return np.log(np.exp(z).sum(axis=-1)) - chosen


def by_feature(losses, there):
    """Each sample's mean over its positions; of these the mean, where there are any."""
    rows = [losses[i][there[i]].mean() if there[i].any() else np.nan for i in range(40)]
    return [np.nanmean(np.where(f == LABELS, rows, np.nan)) for f in (0, 1)]


def check(model, x, y, there, losses=None):
    losses = by_position(model, x, y) if losses is None else losses
    found = A.ablation(model, "words", [0, 3], x, y, LABELS, batch_size=16)
    np.testing.assert_allclose(found.loss, by_feature(losses, there), rtol=1e-4)
    return found


def test_what_the_loss_ignores_counts_as_no_position():
    model = network(mask_zero=False)
    model.compile("sgd", cross_entropy(ignore_class=-1))
    x, y = tokens(), targets()
    given = np.broadcast_to(np.arange(LENGTH) < 2, y.shape)
    losses = by_position(model, x, y)
    found = check(model, x, np.where(given, y, -1), given, losses)
    evaluated = model.evaluate(x, np.where(given, y, -1), verbose=0)
    assert found.loss.mean() == pytest.approx(evaluated, rel=1e-4)
    assert np.abs(found.increase).min() > 1e-4


def test_the_masks_of_the_model_and_of_the_loss_both_hold():
    model = network()
    model.compile("sgd", cross_entropy(ignore_class=-1))
    x, y = tokens(), targets()
    given = np.random.default_rng(2).random(y.shape) < 0.6
    losses = by_position(model, x, y)
    check(model, x, np.where(given, y, -1), given & (x != 0), losses)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: Calls(lambda z: z * 2.0),
        lambda: keras.layers.Conv1D(8, 3, padding="causal"),
    ],
)
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
def test_padding_behind_a_layer_that_drops_the_mask(layer):
    x = tokens()
    check(network(layer()), x, targets(), x != 0)


def two_inputs(name):
    """Words and a mask named `name`, which no layer takes."""
    words = keras.Input((LENGTH,), name=name.replace("padding_mask", "token_ids"))
    mask = keras.Input((LENGTH,), name=name)
    return words, mask


def test_padding_that_an_input_of_the_model_marks():
    x = tokens()
    words, mask = two_inputs("padding_mask")
    z = network(mask_zero=False)
    model = keras.Model([words, mask], z(words))
    model.compile("sgd", cross_entropy())
    check(model, [np.maximum(x, 1), x != 0], targets(), x != 0)


@pytest.mark.parametrize("nested", [False, True])
def test_padding_of_another_input_of_the_same_length(nested):
    """The decoder's words are told, and only their padding counts."""
    x, others = tokens(), tokens()[::-1]
    inputs = [*two_inputs("encoder_padding_mask"), *two_inputs("decoder_padding_mask")]
    decoded = network(mask_zero=False)(inputs[2])
    model = keras.Model(inputs, decoded)
    if nested:
        model = keras.Model(inputs, keras.layers.Activation("linear")(model(inputs)))
    model.compile("sgd", cross_entropy())
    given = [np.maximum(others, 1), others != 0, np.maximum(x, 1), x != 0]
    check(model, given, targets(), x != 0)


def test_samples_that_are_padding_alone_are_left_out():
    x = tokens()
    x[:11] = 0
    found = check(network(), x, targets(), x != 0)
    assert np.isfinite(found.increase).all()


def test_a_feature_of_padding_alone_has_no_loss():
    x = tokens()
    x[LABELS == 1] = 0
    model = network()
    found = A.ablation(model, "words", [0], x, targets(), LABELS)
    losses = by_position(model, x, targets())
    expected = np.mean([losses[i][x[i] != 0].mean() for i in range(0, 40, 2)])
    np.testing.assert_allclose(found.loss, [expected, np.nan], rtol=1e-4)
    assert np.isfinite(found.increase[0]).all()
    assert np.isnan(found.increase[1]).all()


@pytest.mark.one_backend
def test_nothing_but_padding_is_refused():
    with pytest.raises(ValueError, match=r"'words' must have positions.*40 samples"):
        A.ablation(network(), "words", [0], 0 * tokens(), targets(), LABELS)


class Broken(keras.layers.Layer):
    """NaN at padding."""

    supports_masking = True

    def call(self, z, mask=None):
        if mask is None:
            return z
        return keras.ops.where(mask[..., None], z, np.float32("nan"))


def test_activations_at_padding_need_not_be_finite():
    x = tokens()
    model = network(Broken(name="broken"))
    found = A.ablation(model, "broken", [2], x, targets(), LABELS)
    losses, there = by_position(model, x, targets()), x != 0
    np.testing.assert_allclose(found.loss, by_feature(losses, there), rtol=1e-4)
    z = keras.ops.convert_to_numpy(model.layers[0](x)).astype("float64")
    z[..., 2] = z[there][:, 2].mean()
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.layers[-1].weights)
    fixed = by_feature(cross_entropies(z @ kernel + bias, targets()), there)
    np.testing.assert_allclose(
        found.increase[:, 0], np.subtract(fixed, found.loss), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("padded", [0, 3])
def test_a_pooled_output_has_all_samples_with_a_position(padded):
    x, y = tokens(), targets()[:, 0]
    x[:padded] = 0  # whose mean over no position is NaN
    model = network(keras.layers.GlobalAveragePooling1D())
    found = check(model, x, y[:, None], (x != 0).any(axis=1, keepdims=True))
    assert np.isfinite(found.increase).all()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_left_before_the_loss(policy):
    x, y = tokens(), np.random.default_rng(3).normal(3, size=(40, LENGTH, WORDS))
    with dtype_policy(policy):
        model = network()
    model.compile("sgd", "mse")
    z = keras.ops.convert_to_numpy(keras.ops.cast(model(x), "float32"))
    losses = ((z.astype("float64") - y) ** 2).mean(axis=-1)
    found = A.ablation(model, "words", [0], x, y, LABELS)
    np.testing.assert_allclose(found.loss, by_feature(losses, x != 0), rtol=1e-5)


@pytest.mark.one_backend
def test_targets_are_needed():
    with pytest.raises(ValueError, match=r"`y` must hold the targets.*Received: None"):
        A.ablation(network(), "words", [0], tokens(), None, LABELS)
