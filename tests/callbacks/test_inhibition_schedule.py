import copy

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers


def network():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(6, name="first")(inputs)
    x = km.layers.MonosemanticInhibition(name="inhibition", start_step=1)(x)
    x = keras.layers.Dense(6, name="middle")(x)
    x = km.layers.MonosemanticPenalty(0.1, 0.2, name="penalty", start_step=1)(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def fit(model, *callbacks, epochs=3, **options):
    x = small.normal(24, 4)
    small.fit(model, x, x[:, :1], *callbacks, epochs=epochs, **options)


class InForce(keras.callbacks.Callback):
    """What the layers have in force at the end of each epoch."""

    def on_train_begin(self, logs=None):  # noqa: ARG002
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        layers = [self.model.get_layer(n) for n in ("inhibition", "penalty")]
        self.seen.append(
            (
                layers[0].strength,
                round(layers[1].weight, 6),
                [x.enabled for x in layers],
            )
        )


def test_sets_strength_and_weight_by_epoch():
    in_force = InForce()
    model = network()
    fit(model, km.callbacks.InhibitionSchedule(lambda e: 2.0 * e), in_force)
    assert [s[0] for s in in_force.seen] == [0.0, 2.0, 4.0]
    assert [s[1] for s in in_force.seen] == [0.0, 2.0, 4.0]


@pytest.mark.one_backend
def test_named_layers_only():
    in_force = InForce()
    schedule = km.callbacks.InhibitionSchedule(lambda e: 5.0 + e, layers="penalty")
    fit(network(), schedule, in_force, epochs=2)
    assert [s[:2] for s in in_force.seen] == [(1.0, 5.0), (1.0, 6.0)]


def test_none_switches_off_and_a_number_on_again():
    model, in_force = network(), InForce()
    fit(model, epochs=1)
    off = [True, False, False, True]
    schedule = km.callbacks.InhibitionSchedule(lambda e: None if off[e] else 0.5)
    penalties = []

    class Penalties(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            penalties.append(self.model.get_layer("penalty").penalty != 0)

    fit(model, schedule, in_force, Penalties(), epochs=4)
    assert [s[2] for s in in_force.seen] == [[not o] * 2 for o in off]
    assert penalties == [not o for o in off]
    assert [s[0] for s in in_force.seen] == [1.0, 0.5, 0.5, 0.5]
    assert int(numbers(model.get_layer("inhibition").step)) == 15  # observes on
    z = 100 * np.ones((2, 6), "float32")
    assert not numbers(model.get_layer("inhibition").selected(z)).any()
    model.get_layer("inhibition").enabled = True
    assert numbers(model.get_layer("inhibition").selected(z)).any()


def test_by_step_over_all_epochs():
    asked = []
    schedule = km.callbacks.InhibitionSchedule(
        lambda step: asked.append(step) or 0.1 * step, unit="step"
    )
    model = network()
    fit(model, schedule, epochs=2)
    assert asked == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(model.get_layer("inhibition").strength, 0.5)
    fit(model, schedule, epochs=1)
    assert asked[6:] == [0, 1, 2]


def only_inhibition(strength):
    return km.callbacks.InhibitionSchedule(lambda _: strength, layers="inhibition")


def test_takes_effect_in_the_step_it_is_for_without_compiling_again():
    """Strength -1 keeps the gradient, 1 reverses it: the weights tell."""
    trained = []
    for strengths in ([1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]):
        keras.utils.set_random_seed(0)
        model = network()
        schedule = km.callbacks.InhibitionSchedule(
            lambda e, s=strengths: s[e], layers="inhibition"
        )
        fit(model, schedule, epochs=1)
        compiled = model.train_function
        first = numbers(model.layers[1].kernel)
        late = km.callbacks.InhibitionSchedule(
            lambda _, s=strengths: s[1], layers="inhibition"
        )
        fit(model, late, epochs=1)
        assert model.train_function is compiled
        trained.append((first, numbers(model.layers[1].kernel)))
    (a1, a2), (b1, b2), (c1, _) = trained
    np.testing.assert_array_equal(a1, b1)
    assert (a1 != c1).any()
    assert (a2 != b2).any()


def test_what_is_in_force_is_saved(tmp_path):
    model = network()
    fit(model, km.callbacks.InhibitionSchedule(lambda e: 3.0 if e == 0 else None))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("inhibition").strength == 3.0
    assert loaded.get_layer("penalty").weight == 3.0
    assert not loaded.get_layer("penalty").enabled


def test_copies_are_independent():
    schedule = km.callbacks.InhibitionSchedule(abs, unit="step")
    twin = copy.deepcopy(schedule)
    assert (twin.fn, twin.unit, twin.layers) == (abs, "step", None)


@pytest.mark.one_backend
@pytest.mark.parametrize("value", ["1", float("nan"), float("inf"), [1.0]])
def test_a_value_that_is_no_number(value):
    with pytest.raises(ValueError, match=r"`fn\(0\)` must be a finite.*Received: "):
        fit(network(), km.callbacks.InhibitionSchedule(lambda _: value))


@pytest.mark.one_backend
def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`fn` must be a function.*Received: fn=1.0"):
        km.callbacks.InhibitionSchedule(1.0)
    with pytest.raises(ValueError, match=r"'epoch' or 'step'.*'batch'"):
        km.callbacks.InhibitionSchedule(abs, unit="batch")
    with pytest.raises(ValueError, match=r"no \['nowhere'\].*'penalty'"):
        fit(network(), km.callbacks.InhibitionSchedule(abs, layers=["nowhere"]))
    with pytest.raises(ValueError, match=r"'middle' is a Dense. Expected"):
        fit(network(), km.callbacks.InhibitionSchedule(abs, layers=["middle"]))
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="only")])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"no layer to schedule.*\['only'\]"):
        fit(plain, km.callbacks.InhibitionSchedule(abs))


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras has no executions of steps there"
)
def test_executions_that_do_not_divide_the_epoch():
    asked = []
    schedule = km.callbacks.InhibitionSchedule(
        lambda step: asked.append(step) or 0.1, unit="step"
    )
    model = network()
    model.compile("sgd", "mse", steps_per_execution=2)
    fit(model, schedule, epochs=3)  # 3 steps an epoch
    assert asked == [0, 2, 3, 5, 6, 8]


@pytest.mark.one_backend
@pytest.mark.parametrize("value", [1e39, -1e300, 10**400])
def test_a_value_beyond_float32(value):
    with pytest.raises(ValueError, match=r"finite number.*at most 3.4e\+38"):
        fit(network(), km.callbacks.InhibitionSchedule(lambda _: value))
    with pytest.raises(ValueError, match=r"`weight` must be a finite number"):
        km.layers.MonosemanticPenalty(value)


@pytest.mark.parametrize("kind", ["array", "tensor", "Keras' schedule"])
def test_a_value_that_is_an_array(kind):
    decay = keras.optimizers.schedules.PolynomialDecay(0.5, 10, 0.5)
    fn = {
        "array": lambda _: np.array(0.5),
        "tensor": lambda _: keras.ops.convert_to_tensor(0.5),
        "Keras' schedule": decay,
    }[kind]
    model = network()
    fit(model, km.callbacks.InhibitionSchedule(fn))
    assert model.get_layer("inhibition").strength == 0.5
    with pytest.raises(ValueError, match=r"`fn\(0\)` must be a finite number"):
        fit(model, km.callbacks.InhibitionSchedule(lambda _: np.ones(2)))


@pytest.mark.parametrize("after", [None, 9.0])
def test_the_last_step_of_data_of_unknown_length(after):
    """Keras may begin another, and then find that the data have ended."""
    x = small.normal(24, 4)
    data = ((x[i : i + 8], x[i : i + 8, :1]) for i in (0, 8, 16))
    values = [3.0, 4.0, None if after else 5.0, after]
    model = small.chain(
        (4,), km.layers.MonosemanticInhibition(name="layer"), keras.layers.Dense(1)
    )
    schedule = km.callbacks.InhibitionSchedule(values.__getitem__, unit="step")
    small.fit(model, data, None, schedule)
    layer = model.get_layer("layer")
    assert (layer.strength, layer.enabled) == ((4.0, False) if after else (5.0, True))
