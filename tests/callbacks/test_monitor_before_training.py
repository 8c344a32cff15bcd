"""What a monitor cannot measure is met before training, not after its first epoch."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small

Monitor = km.callbacks.MonosemanticityMonitor


def inputs(samples=16, *shape, seed=0):
    return small.normal(samples, *(shape or (4,)), seed=seed)


def fit(model, *callbacks, x=None, epochs=1):
    x = inputs() if x is None else x
    y = np.zeros((16, 1), "float32")
    if not model.compiled:
        model.compile(keras.optimizers.SGD(0.01), "mse")
    return small.fit(model, x, y, *callbacks, epochs=epochs).history


class TwoLengths(keras.Model):
    """An encoder of sequences that two inputs share."""

    def __init__(self):
        super().__init__()
        identity = keras.initializers.Identity()
        self.dense = keras.layers.Dense(3, name="dense", kernel_initializer=identity)
        self.scale = km.layers.MonosemanticScale(axis=-1, name="scale")

    def call(self, inputs, training=None):
        codes = [self.scale(self.dense(x), training=training) for x in inputs]
        return sum(keras.ops.mean(x, axis=(1, 2)) for x in codes)[:, None]


def test_a_layer_called_on_inputs_of_several_lengths():
    model = TwoLengths()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = (inputs(16, 7, 3), inputs(16, 5, 3, seed=1))
    history = fit(model, Monitor(x, layers=["dense", "scale"]), x=x)
    # Of another layer every position is a neuron: the last two in the long ones only.
    padded = np.pad(x[1], [(0, 0), (0, 2), (0, 0)], constant_values=np.nan)
    summary = km.analysis.summary(np.concatenate([x[0], padded]))
    for figure in ("top1", "threshold", "tail", "kurtosis"):
        found = history[f"dense_ms_{figure}"][0]
        assert found == pytest.approx(summary[figure], rel=1e-4)
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype("float64")
        for v in (model.scale.mean, model.scale.variance)
    )
    phis = [(z - mean) ** 2 / (variance + 0.01 * variance.mean()) for z in x]
    every = np.concatenate([phi.ravel() for phi in phis])
    largest = np.mean([phi.max(axis=(1, 2)) for phi in phis])
    assert history["scale_ms_top1"][0] == pytest.approx(largest, rel=1e-4)
    assert history["scale_ms_kurtosis"][0] == pytest.approx((every**2).mean(), rel=1e-4)


class OwnStep(keras.Model):
    """Its `train_step` calls its parts: on TensorFlow nothing builds the model."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4, name="dense")
        self.scale = km.layers.MonosemanticScale(name="scale")

    def call(self, x, training=None):
        return self.scale(self.dense(x), training=training)

    def train_step(self, *arguments):
        logs = {"loss": keras.ops.zeros(())}
        if keras.backend.backend() == "jax":
            return logs, arguments[0]
        self.scale(self.dense(arguments[0][0]), training=True)
        return logs


def test_a_train_step_that_never_calls_the_model():
    monitor = Monitor(inputs(8), layers=["dense"])
    history = fit(OwnStep(), monitor, epochs=2)
    assert np.isfinite(history["dense_ms_top1"]).all()


def scaled_dense(name):
    scale = km.layers.MonosemanticScale(name=f"{name}_scale")
    dense = keras.layers.Dense(4, name=f"{name}_dense")
    return keras.Sequential([keras.Input((4,)), dense, scale], name=name)


class Distiller(keras.Model):
    """A student that is called, and a teacher that only a loss would call."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = scaled_dense("student"), scaled_dense("teacher")
        self.teacher.trainable = False

    def call(self, x, training=None):
        return self.student(x, training=training)[:, :1]


@pytest.mark.one_backend
def test_layers_that_the_forward_pass_never_calls_are_told_of_and_left_out():
    with pytest.warns(UserWarning, match=r"\['teacher_scale'\]. They are not watched"):
        history = fit(Distiller(), Monitor(inputs(8)))
    assert "student_scale_ms_top1" in history
    assert not any(key.startswith("teacher") for key in history)


@pytest.mark.one_backend
def test_named_layers_that_are_never_called_are_an_error_before_training():
    model = Distiller()
    with pytest.raises(ValueError, match=r"never called .*\['teacher_dense'\]"):
        fit(model, Monitor(inputs(8), layers=["student_dense", "teacher_dense"]))
    assert int(model.student.layers[-1].step) == 0


class Fading(keras.Model):
    """Calls its second layer for as long as it is told to."""

    def __init__(self):
        super().__init__()
        self.first = km.layers.MonosemanticScale(name="first")
        self.second = km.layers.MonosemanticScale(name="second")
        self.calls_second = True

    def call(self, x, training=None):
        x = self.first(x, training=training)
        return (self.second(x, training=training) if self.calls_second else x)[:, :1]


def test_a_layer_that_is_called_at_first_only():
    model = Fading()

    def fade(epoch, logs):  # noqa: ARG001
        model.calls_second = epoch == 0

    fading = keras.callbacks.LambdaCallback(on_epoch_begin=fade)
    with pytest.warns(
        UserWarning, match=r"\['second'\]. Their figures are NaN"
    ) as all_:
        history = fit(model, fading, Monitor(inputs(8)), epochs=3)
    assert sum("are NaN" in str(w.message) for w in all_) == 1
    assert np.isfinite(history["second_ms_top1"]).tolist() == [True, False, False]
    assert np.isfinite(history["first_ms_top1"]).all()


class Autoencoder(keras.Model):
    """Takes an image and noise; only its encoder can be called on images alone."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = scaled_dense("encoder"), scaled_dense("decoder")

    def call(self, inputs, training=None):
        image, noise = inputs
        code = self.encoder(image, training=training) + noise
        return self.decoder(code, training=training)[:, :1]


@pytest.mark.one_backend
def test_a_part_of_a_model():
    model = Autoencoder()
    x = (inputs(16), inputs(16, seed=1))
    monitor = Monitor(inputs(8), model=model.encoder)
    twice = Monitor(inputs(8), model=model.decoder, layers=["decoder_dense"])
    history = fit(model, monitor, twice, x=x, epochs=2)
    figures = [key for key in history if "_ms_" in key]
    assert len(figures) == 8
    assert [row["layer"] for row in monitor.rows] == ["encoder_scale"] * 2
    # The figures of the trained part, as it is now.
    z = km.analysis.activations(model.encoder, inputs(8), ["encoder_scale"])
    phi = keras.ops.convert_to_numpy(model.encoder.layers[-1].score(z["encoder_scale"]))
    assert history["encoder_scale_ms_top1"][-1] == pytest.approx(
        phi.max(axis=1).mean(), rel=1e-4
    )


@pytest.mark.one_backend
def test_data_that_the_model_cannot_be_called_on_are_met_before_training():
    model = Autoencoder()
    model((inputs(2), inputs(2)))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the model's own
        fit(model, Monitor(inputs(8)), x=(inputs(16), inputs(16)))
    assert "`data` must hold inputs" in caught.value.__notes__[-1]
    assert int(model.encoder.layers[-1].step) == 0


class WithoutCall(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = scaled_dense("encoder")

    def train_step(self, *arguments):
        logs = {"loss": keras.ops.zeros(())}
        return (logs, arguments[0]) if keras.backend.backend() == "jax" else logs


@pytest.mark.one_backend
def test_a_model_without_a_call_names_its_parts():
    model = WithoutCall()
    model.compile("sgd")
    model.built = True  # as it has to be on JAX and PyTorch
    message = r"no `call`.*model=vae.encoder.*\['encoder'\]"
    with pytest.raises(ValueError, match=message):
        model.fit(inputs(), verbose=0, callbacks=[Monitor(inputs(8))])
    monitor = Monitor(inputs(8), model=model.encoder, layers=["encoder_dense"])
    history = model.fit(inputs(), verbose=0, callbacks=[monitor]).history
    assert np.isfinite(history["encoder_dense_ms_top1"]).all()


@pytest.mark.one_backend
def test_a_part_that_is_no_model():
    with pytest.raises(ValueError, match=r"`model` must be a Keras model.*'encoder'"):
        Monitor(inputs(8), model="encoder")


@pytest.mark.one_backend
def test_one_sample_says_nothing_of_another_layer():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="only")])
    history = fit(model, Monitor(inputs(1), layers=["only"]))
    assert np.isnan(history["only_ms_top1"]).all()


@pytest.mark.one_backend
def test_a_layer_with_one_number_a_sample_or_a_batch():
    class Largest(keras.layers.Layer):
        def call(self, x):
            return keras.ops.max(x, axis=1)

    class Whole(keras.layers.Layer):
        def call(self, x):
            return keras.ops.mean(x)

    given = keras.Input((4,))
    x = keras.layers.Dense(4)(given)
    outputs = keras.layers.Dense(1)(x) + Whole(name="whole")(x)
    outputs += Largest(name="largest")(x)[:, None]
    model = keras.Model(given, outputs)
    history = fit(model, Monitor(inputs(16), layers=["largest"]))
    assert history["largest_ms_kurtosis"][0] > 1
    with pytest.raises(ValueError, match="'whole' gives one number for a whole batch"):
        fit(model, Monitor(inputs(8), layers=["whole"]))


class Forgets(keras.Model):
    """Calls its encoder as if it never trained."""

    def __init__(self):
        super().__init__()
        self.encoder, self.other = scaled_dense("encoder"), scaled_dense("other")

    def call(self, x, training=None):
        return self.other(self.encoder(x, training=False), training=training)[:, :1]


def test_layers_that_see_no_training_batch_are_told_of_once():
    with pytest.warns(UserWarning, match="saw no training batch") as caught:
        fit(Forgets(), Monitor(inputs(8)), epochs=3)
    (warning,) = [w for w in caught if "no training batch" in str(w.message)]
    assert "['encoder_scale']" in str(warning.message)


def test_frozen_layers_are_not_told_of():
    model = Forgets()
    model.encoder.trainable = False
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*no training batch")
        fit(model, Monitor(inputs(8)))


class Sampled(keras.layers.Layer):
    """Draws at inference too, as the code of a variational autoencoder."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


def test_measuring_draws_no_random_numbers_from_the_model():
    def losses(*callbacks):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((4,)), Sampled(), keras.layers.Dense(1, name="dense")]
        return fit(keras.Sequential(layers), *callbacks, epochs=2)["loss"]

    assert losses(Monitor(inputs(8), layers=["dense"])) == losses()


def test_a_layer_in_a_sequential_that_is_built_on_the_way():
    """As the guide puts a penalty behind a Dense inside of a block."""
    penalty = km.layers.MonosemanticPenalty(start_step=1, name="penalty")
    activation = keras.Sequential([keras.layers.Activation("gelu"), penalty])
    dense = keras.layers.Dense(6, activation=activation)
    model = keras.Sequential([keras.Input((8,)), dense, keras.layers.Dense(1)])
    x = inputs(16, 8)
    model.compile("sgd", "mse")
    monitor = Monitor(x)
    history = small.fit(model, x, x[:, :1], monitor, epochs=2).history
    assert np.isfinite(history["penalty_ms_tail"][-1])
