"""The new model is compiled with the same losses and functions as the old one."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support.existing import LAYER, data, sequential
from support.training import numbers

Y = np.ones((24, 2))


def own_loss(y, p):
    return keras.ops.mean((y - p) ** 2, axis=-1)


class OwnMetric(keras.metrics.Mean):
    """Not registered, so that `keras.saving` cannot make another."""

    def update_state(self, y, p, sample_weight=None):  # noqa: ARG002
        return super().update_state(keras.ops.abs(y - p))


class OwnLoss(keras.losses.Loss):
    def call(self, y, p):
        return own_loss(y, p)


LOSSES = [own_loss, lambda y, p: own_loss(y, p) * 2.0, OwnLoss()]


def both(model):
    big = km.insert_after(model, "block_1", LAYER)
    return [big, km.strip(big)]


@pytest.mark.parametrize("loss", LOSSES)
def test_own_losses_and_metrics_are_the_same_objects(loss):
    model = sequential()
    error = lambda y, p: keras.ops.abs(y - p)  # noqa: E731
    model.compile("sgd", loss, metrics=[own_loss, error, "mae"])
    for new in both(model):
        assert new.compiled
        assert new.loss is loss
        before = model.evaluate(data(), Y, verbose=0)
        np.testing.assert_allclose(new.evaluate(data(), Y, verbose=0), before, 1e-6)
        new.fit(data(), Y, verbose=0)


def test_metrics_with_state_are_not_shared():
    model = sequential()
    own, known = OwnMetric(name="own"), keras.metrics.MeanAbsoluteError(name="known")
    model.compile("sgd", "mse", metrics={"head": [own]}, weighted_metrics=[known])
    expected = model.evaluate(data(), Y, verbose=0, return_dict=True)
    value = float(numbers(known.result()))
    for new in both(model):
        found = new.evaluate(2 * data(), Y, verbose=0, return_dict=True)
        assert {*found} == {*expected}
        new.fit(data(), Y, verbose=0)
    assert float(numbers(known.result())) == value
    assert float(numbers(own.result())) == pytest.approx(expected["own"])


@pytest.mark.one_backend
def test_a_metric_that_cannot_be_copied_is_shared():
    model = sequential()
    metric = keras.metrics.MeanMetricWrapper(lambda y, p: own_loss(y, p), name="own")
    model.compile("sgd", "mse", metrics=[metric])
    for new in both(model):
        assert "own" in new.evaluate(data(), Y, verbose=0, return_dict=True)


def test_the_rest_of_the_compilation_is_kept():
    model = sequential()
    model.compile(
        keras.optimizers.Adam(0.25, clipnorm=1.0),
        own_loss,
        loss_weights=[2.0],
        run_eagerly=True,
    )
    for new in both(model):
        assert new.run_eagerly
        assert new.optimizer.clipnorm == 1.0
        assert new.optimizer is not model.optimizer
        np.testing.assert_allclose(
            new.evaluate(data(), Y, verbose=0), model.evaluate(data(), Y, verbose=0)
        )


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return keras.ops.cast(step, "float32") * 0.0 + 0.1


@pytest.mark.one_backend
def test_an_optimizer_that_cannot_be_copied_leaves_the_model_uncompiled_and_says_so():
    model = sequential()
    model.compile(keras.optimizers.SGD(OwnSchedule()), "mse")
    with pytest.warns(UserWarning, match="optimizer that Keras cannot copy"):
        big = km.insert_after(model, "block_1", LAYER)
    assert not big.compiled
    assert model.compiled
    assert len(quiet_places(model)) == 1


def quiet_places(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return km.insert_after(model, "block_1", LAYER, dry_run=True)


def decaying(wrap):
    """Halves in a step what decays; the biases and the head's kernel do not."""
    model = sequential()
    for layer in model.layers:
        layer.bias.assign(layer.bias + 1.0)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=5.0)
    optimizer.exclude_from_weight_decay([model.get_layer("head").kernel], ["bias"])
    model.compile(wrap(optimizer), lambda y, p: 0.0 * own_loss(y, p))
    return model


@pytest.mark.parametrize(
    "wrap",
    [lambda optimizer: optimizer, keras.optimizers.LossScaleOptimizer],
    ids=["plain", "scaling"],
)
def test_what_is_excluded_from_weight_decay_stays_excluded(wrap):
    for new in both(decaying(wrap)):
        before = {w.path: numbers(w) for w in new.trainable_weights}
        new.train_on_batch(data(), Y)
        for weight in new.trainable_weights:
            stays = weight.name == "bias" or weight.path.endswith("head/kernel")
            expected = before[weight.path] * (1.0 if stays else 0.5)
            np.testing.assert_allclose(numbers(weight), expected, 1e-6)


def test_an_optimizer_without_exclusions_decays_everything():
    model = sequential()
    model.compile(keras.optimizers.AdamW(), "mse")
    optimizer = both(model)[1].optimizer
    assert all(optimizer._use_weight_decay(w) for w in model.trainable_weights)


class TwoOptimizers(keras.Model):
    def compile(self, g_optimizer, d_optimizer):
        super().compile()
        self.g_optimizer, self.d_optimizer = g_optimizer, d_optimizer


class FailsLate(keras.Model):
    def compile(self, kinds="", **arguments):
        super().compile(**arguments)
        self.parts = kinds.split(",")
        self.kinds = None


def as_class(cls):
    plain = sequential()
    return cls(plain.inputs, plain.outputs)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [(TwoOptimizers, ["adam", "sgd"]), (FailsLate, ["a,b"])],
)
def test_a_compile_that_cannot_be_called_again_leaves_the_model_uncompiled(
    cls, arguments
):
    model = as_class(cls)
    model.compile(*arguments)
    assert len(quiet_places(model)) == 1
    for make in (lambda m: km.insert_after(m, "block_1", LAYER), km.strip):
        with pytest.warns(UserWarning, match="a `compile` of its own") as found:
            new = make(model)
        ours = [w.filename for w in found if "of its own" in str(w.message)]
        assert ours == [__file__]
        assert not new.compiled
    assert model.compiled
    new.compile(*arguments)
    assert new.compiled


class MoreArguments(keras.Model):
    def compile(self, own_optimizer, **arguments):
        super().compile(**arguments)
        self.own_optimizer = own_optimizer


class SaysHow(keras.Model):
    def compile(self, rate, **arguments):
        super().compile(keras.optimizers.SGD(rate), **arguments)
        self.kept = rate

    def get_compile_config(self):
        return {"rate": self.kept, "loss": "mse"}


@pytest.mark.one_backend
def test_a_class_that_says_how_it_is_compiled():
    model = as_class(SaysHow)
    model.compile(0.25, loss="mse")
    for new in both(model):
        assert float(numbers(new.optimizer.learning_rate)) == 0.25
        assert new.optimizer is not model.optimizer


def test_further_optimizers_are_not_shared():
    model = as_class(MoreArguments)
    own = keras.optimizers.AdamW(0.5)
    own.exclude_from_weight_decay(var_names=["bias"])
    model.compile(own, loss=own_loss)
    for new in both(model):
        assert new.loss is own_loss
        assert new.own_optimizer is not own
        assert new.own_optimizer.get_config() == own.get_config()
        decays = [own._use_weight_decay(w) for w in model.trainable_weights]
        assert [
            *map(new.own_optimizer._use_weight_decay, new.trainable_weights)
        ] == decays
        assert sorted({*decays}) == [False, True]
