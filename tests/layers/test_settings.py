"""`strength`, `weight` and `enabled` belong to the config, not to what is learned."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km
from support import small
from support.training import numbers

BACKEND = keras.config.backend()
ON_JAX = pytest.mark.skipif(BACKEND != "jax", reason="there `fit` takes values away")


def network(strength=1.0, weight=0.1, enabled=True):
    keras.utils.clear_session()  # PyTorch names parameters after the layers
    model = small.chain(
        (4,),
        keras.layers.Dense(6),
        km.layers.MonosemanticInhibition(
            strength=strength, start_step=1, name="inhibition"
        ),
        km.layers.MonosemanticPenalty(weight, start_step=1, name="penalty"),
        keras.layers.Dense(2),
        name="network",
        optimizer=keras.optimizers.SGD(0.01),
    )
    for name in ("inhibition", "penalty"):
        model.get_layer(name).enabled = enabled
    return model


def fit(model, *callbacks, **options):
    x = small.student_t(3, 24, 4)
    return small.fit(model, x, x[:, :2], *callbacks, **options)


def in_force(model):
    inhibition, penalty = model.get_layer("inhibition"), model.get_layer("penalty")
    found = {
        "strength": inhibition.strength,
        "weight": penalty.weight,
        "enabled": (inhibition.enabled, penalty.enabled),
    }
    configs = inhibition.get_config(), penalty.get_config()
    assert configs[0]["strength"] == found["strength"]
    assert configs[1]["weight"] == found["weight"]
    assert tuple(c["enabled"] for c in configs) == found["enabled"]
    # What a compiled step reads is the same number.
    np.testing.assert_allclose(numbers(inhibition._strength), found["strength"])
    np.testing.assert_allclose(numbers(penalty._weight), found["weight"])
    read = (bool(numbers(inhibition._enabled)), bool(numbers(penalty._enabled)))
    assert read == found["enabled"]
    return found


SET = {"strength": 5.0, "weight": 0.7, "enabled": (False, False)}


def by_file(source, target, folder):
    source.save_weights(folder / "of.weights.h5")
    target.load_weights(folder / "of.weights.h5")


def by_list(source, target, folder):  # noqa: ARG001
    target.set_weights(source.get_weights())


def by_layers(source, target, folder):  # noqa: ARG001
    for a, b in zip(source.layers, target.layers, strict=True):
        b.set_weights(a.get_weights())


def by_state_dict(source, target, folder):  # noqa: ARG001
    target.load_state_dict(source.state_dict())


WAYS = [by_file, by_list, by_layers] + [by_state_dict] * (BACKEND == "torch")


@pytest.mark.support("weights files leave `strength`, `weight`, `enabled` alone")
@pytest.mark.parametrize("way", small.mostly_one_backend(WAYS, by_file))
def test_weights_leave_settings_alone(way, tmp_path):
    source, target = network(), network(5.0, 0.7, enabled=False)
    fit(source)
    way(source, target, tmp_path)
    assert in_force(target) == SET
    for name in ("inhibition", "penalty"):
        learned = target.get_layer(name), source.get_layer(name)
        assert int(numbers(learned[0].step)) == 3
        for a, b in zip(*(x.saved_variables() for x in learned), strict=True):
            np.testing.assert_array_equal(numbers(a), numbers(b), err_msg=a.path)


def test_settings_are_no_weights():
    model = network()
    for listed in (model.weights, model.non_trainable_weights):
        assert not {"strength", "weight", "enabled"} & {v.name for v in listed}
    stored = {}
    model.get_layer("inhibition").save_own_variables(stored)
    assert not {"strength", "enabled"} & set(stored)
    # A step on JAX takes them as arguments; PyTorch has no use for them there.
    names = [v.name for v in model.variables]
    assert names.count("enabled") == (0 if BACKEND == "torch" else 2)


def test_enabled_is_an_argument():
    for kind in (km.layers.MonosemanticInhibition, km.layers.MonosemanticPenalty):
        assert kind().enabled
        assert not kind(enabled=False).enabled


@pytest.mark.one_backend
def test_early_stopping_restores_weights_and_no_settings():
    """The best epoch is the first, the schedule goes on after it."""

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = float(epoch)

    model = network()
    stop = keras.callbacks.EarlyStopping(
        "figure", patience=1, restore_best_weights=True, mode="min"
    )
    schedule = km.callbacks.InhibitionSchedule(lambda epoch: 2.0 + epoch)
    fit(model, Worse(), schedule, stop, epochs=5)
    assert stop.stopped_epoch == 1
    assert model.get_layer("inhibition").strength == 3.0
    assert int(numbers(model.get_layer("inhibition").step)) == 3


@pytest.mark.one_backend
def test_a_sweep_over_strengths_from_one_file(tmp_path):
    """Each trains what its config says."""
    file = tmp_path / "start.weights.h5"
    network().save_weights(file)
    trained = []
    for strength in (1.0, 100.0):
        model = network(strength)
        model.load_weights(file)
        fit(model, epochs=2)
        assert model.get_layer("inhibition").get_config()["strength"] == strength
        trained.append(numbers(model.layers[0].kernel))
    assert np.abs(trained[0] - trained[1]).max() > 1e-3


def changed():
    model = network()
    model.get_layer("inhibition").strength = 5.0
    model.get_layer("penalty").weight = 0.7
    for name in ("inhibition", "penalty"):
        model.get_layer(name).enabled = False
    return model


def test_a_whole_model_holds_what_was_set(tmp_path):
    model = changed()
    model.save(tmp_path / "model.keras")
    assert in_force(keras.saving.load_model(tmp_path / "model.keras")) == SET
    assert in_force(keras.models.clone_model(model)) == SET


@pytest.mark.one_backend
@pytest.mark.parametrize("built", [False, True])
def test_a_template_hands_on_what_was_set(built):
    template = km.layers.MonosemanticInhibition()
    if built:
        template.build((None, 6))
    template.strength, template.enabled = 4.0, False
    copy = type(template).from_config(template.get_config())
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="dense")])
    inserted = km.insert_after(plain, "dense", template).layers[-1]
    for layer in (copy, inserted):
        assert (layer.strength, layer.enabled) == (4.0, False)
    z = np.arange(12, dtype="float32").reshape(2, 6)
    for _ in range(12):
        assert (numbers(inserted(z, training=True)) == z).all()  # it is off


def test_numbers_come_back_as_they_were_given():
    layer = km.layers.MonosemanticPenalty(0.1)
    layer.build((None, 3))
    assert layer.weight == layer.get_config()["weight"] == 0.1


def test_what_acts_is_told_when_all_variables_were_restored():
    """As by an Orbax checkpoint, which knows of no config."""
    model = network()
    model.get_layer("inhibition")._strength.assign(3.0)
    model.get_layer("penalty")._enabled.assign(0.0)
    assert in_force(model) == {"strength": 3.0, "weight": 0.1, "enabled": (True, False)}


FIXED = {
    "axis": (-1, [2, 2]),
    "forget_steps": (None, 0),
    "variance_compensation": (0.5, -1.0),
    "select": (3, "most"),
    "start_step": (4, 0.5),
    "include_current_batch": (np.True_, "no"),
    "active": ("always", "never"),
    "gradient": ("scale_invariant", "phi"),
}
SETTINGS = {"strength": (2, 2e8), "enabled": (np.False_, "no")}


@pytest.mark.one_backend
@pytest.mark.parametrize("name", [*FIXED, *SETTINGS])
def test_what_is_set_is_checked_as_an_argument_is(name):
    good, bad = (FIXED | SETTINGS)[name]
    kind = km.layers.MonosemanticInhibition
    with pytest.raises(ValueError, match="Received") as refused:
        kind(**{name: bad})
    layer = kind(name="layer")
    with pytest.raises(ValueError, match="Received") as refused_later:
        setattr(layer, name, bad)
    assert str(refused.value) == str(refused_later.value)
    setattr(layer, name, good)
    given = kind(**{name: good}, name="layer")
    assert layer.get_config() == given.get_config() != kind(name="layer").get_config()


@pytest.mark.one_backend
@pytest.mark.parametrize("name", FIXED)
def test_what_a_compiled_step_has_built_in_cannot_be_set(name):
    layer = km.layers.MonosemanticInhibition(name="layer")
    layer.build((None, 6))
    before = layer.get_config()
    with pytest.raises(AttributeError, match=f"`{name}` of layer 'layer'.*built") as at:
        setattr(layer, name, FIXED[name][0])
    assert f"from_config({{**layer.get_config(), '{name}': ...}})" in str(at.value)
    assert layer.get_config() == before
    with pytest.raises(AttributeError, match="once the layer is made"):
        km.layers.MonosemanticPenalty().form = "phi"


OTHERS = [("weight", "strength"), ("strength", "weight")]


@pytest.mark.parametrize(("other", "own"), OTHERS)
def test_the_other_layers_setting_is_refused(other, own):
    """It would change nothing."""
    layer = km.layers.MonosemanticInhibition()
    if own == "weight":
        layer = km.layers.MonosemanticPenalty()
    with pytest.raises(AttributeError, match=f"no `{other}`.*Use `{own}`"):
        setattr(layer, other, 5.0)
    assert not hasattr(layer, other)
    layer.note = "any other attribute may be set"


@pytest.mark.parametrize("weight", [1e8, -1e8])
@pytest.mark.parametrize("form", ["phi", "relative"])
def test_the_largest_weight_gives_numbers(form, weight):
    with pytest.raises(ValueError, match="between -1e\\+08 and 1e\\+08"):
        km.layers.MonosemanticPenalty(1e38, form=form)
    tiny = 1e-15 * small.student_t(3, 24, 4)
    penalty = km.layers.MonosemanticPenalty(weight, 0.2, form=form, start_step=1)
    dense = keras.layers.Dense(4, kernel_initializer="identity")
    model = small.chain((4,), dense, penalty, optimizer=keras.optimizers.SGD(1e-30))
    small.fit(model, tiny, 1e3 * tiny)
    assert np.isfinite(numbers(dense.kernel)).all()
    assert np.isfinite(penalty.penalty)


SINGLE = {
    "penalty": lambda: km.layers.MonosemanticPenalty(start_step=1, name="single"),
    "pulled": lambda: km.layers.MonosemanticInhibition(
        gradient="scale_invariant", start_step=1, name="single"
    ),
    "l2e": lambda: km.layers.MonosemanticPenalty(form="l2e", start_step=1),
    "reversed": lambda: km.layers.MonosemanticInhibition(start_step=1),
}


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", SINGLE)
def test_a_batch_in_which_no_neuron_varies_is_told_of_once(kind):
    for shape, is_single in (((1, 6), True), ((2, 6), False)):
        layer = SINGLE[kind]()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                layer(np.ones(shape, "float32"), training=True)
            layer(np.ones((1, 6), "float32"), training=True)  # what is left over
        texts = [str(w.message) for w in caught]
        told = [text for text in texts if "'single' changes nothing" in text]
        assert len(told) == (is_single and kind in ("penalty", "pulled"))


class Held(keras.callbacks.Callback):
    """Does something to layers that it holds, after a batch, without `self.model`."""

    def __init__(self, layers, do):
        super().__init__()
        self.layers, self.do = layers, do

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if batch == 1:
            self.do(*self.layers)


def set_strength(inhibition, penalty):  # noqa: ARG001
    inhibition.strength = 3.0


def set_weight(inhibition, penalty):  # noqa: ARG001
    penalty.weight = 3.0


def switch_off(inhibition, penalty):  # noqa: ARG001
    inhibition.enabled = False


def reset(inhibition, penalty):  # noqa: ARG001
    inhibition.reset()


def score(inhibition, penalty):  # noqa: ARG001
    inhibition.score(np.zeros((2, 6), "float32"))


def select(inhibition, penalty):  # noqa: ARG001
    inhibition.selected(np.zeros((2, 6), "float32"))


def update_statistics(inhibition, penalty):  # noqa: ARG001
    inhibition.update_statistics(np.zeros((2, 6), "float32"))


def read_penalty(inhibition, penalty):  # noqa: ARG001
    assert isinstance(penalty.penalty, float)


def read_state(inhibition, penalty):  # noqa: ARG001
    assert "threshold" in penalty.selector_state


CHANGES = [set_strength, set_weight, switch_off, reset]
LOOKS = [score, select, update_statistics, read_penalty, read_state]


@pytest.mark.parametrize(
    "do",
    small.mostly_one_backend(
        [*CHANGES, *LOOKS], set_strength, reset, score, read_state
    ),
)
def test_a_held_layer_in_a_running_fit(do):
    """It works, or says on JAX what to do; it is never without effect."""
    model = network()
    held = [model.get_layer(name) for name in ("inhibition", "penalty")]
    if BACKEND == "jax":
        with pytest.raises(RuntimeError, match=r"Layer '\w+' cannot.*`self.model`"):
            fit(model, Held(held, do))
        return
    fit(model, Held(held, do))
    if do is reset:
        assert int(numbers(held[0].step)) == 1
    if do in (set_strength, set_weight):
        assert 3.0 in (held[0].strength, held[1].weight)
    if do is switch_off:
        assert not held[0].enabled


@ON_JAX
@pytest.mark.parametrize("do", CHANGES)
def test_after_self_model_it_takes_effect(do):
    class Synced(Held):
        def on_train_batch_end(self, batch, logs=None):
            assert self.model is not None
            super().on_train_batch_end(batch, logs)

    model = network()
    held = [model.get_layer(name) for name in ("inhibition", "penalty")]
    fit(model, Synced(held, do))
    assert int(numbers(held[0].step)) == (1 if do is reset else 3)
    assert held[0].strength == (3.0 if do is set_strength else 1.0)
    assert held[1].weight == (3.0 if do is set_weight else 0.1)
    assert held[0].enabled == (do is not switch_off)


def test_the_config_of_a_held_layer_in_a_running_fit():
    configs = []

    def keep(inhibition, penalty):
        configs.extend([inhibition.get_config(), penalty.get_config()])

    model = network(2.0, 0.3)
    held = [model.get_layer(name) for name in ("inhibition", "penalty")]
    fit(model, Held(held, keep))
    assert (configs[0]["strength"], configs[1]["weight"]) == (2.0, 0.3)
    assert configs[0]["enabled"]
