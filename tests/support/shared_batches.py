"""A model with every kind of layer, and global batches that replicas share."""

import keras
import numpy as np

import keras_mono as km

STEPS, ROWS, FEATURES, UNITS = 20, 24, 6, 16
RATE = 3e-3
KERNELS = ("hidden", "other", "third")
LAYERS = ("top", "follows", "penalty", "invariant", "pulled", "behind", "scale")
LAYERS += ("relative",)


def batches(hard, rows=ROWS, short=True):
    """`(x, padding, y)` of each step; the last batch may hold fewer rows.

    Hard ones are far from 0 and hold NaN. A penalty that learns would tell rounding
    from rounding there. With fixed weights their activations are exact: a product of
    matrices may be rounded otherwise if it has fewer rows, and φ would tell.
    """
    random = np.random.default_rng(3)
    made = []
    for step in range(STEPS):
        n = rows - 14 if short and step == STEPS - 1 else rows
        x = random.standard_t(4, size=(n, FEATURES))
        if hard:
            x = np.round(x * 2**5) / 2**5 + 100.0
        if hard and step in (2, 9):
            x[n // 2, 1] = np.nan
        padding = (random.random(n) > 0.2).astype("float32")
        made.append((x.astype("float32"), padding, np.zeros((n, 1), "float32")))
    return made


def model(learns):
    """If it does not learn, the weights before the layers are fixed."""
    normal = keras.initializers.RandomNormal(seed=5)

    def start(shape, dtype=None):
        weights = normal(shape, dtype)
        return weights if learns else keras.ops.round(weights * 2**9) / 2**9

    x = keras.Input((FEATURES,), name="x")
    padding = keras.Input((), name="padding")
    # One for each form of the penalty: L2E's shrinks its neurons, and the pull of the
    # other on a small neuron is large. The third gets the gradient of a penalty behind
    # the inhibition.
    h, other, third = (
        keras.layers.Dense(
            UNITS, kernel_initializer=start, name=name, trainable=learns
        )(x)
        for name in KERNELS
    )
    common = {"axis": -1, "start_step": 2}
    layers = [
        km.layers.MonosemanticInhibition(**common, name="top"),
        km.layers.MonosemanticInhibition(0.1, **common, name="follows"),
        km.layers.MonosemanticPenalty(1.0, 0.2, form="l2e", **common, name="penalty"),
        km.layers.MonosemanticScale(axis=-1, name="scale"),
    ]
    invariant = km.layers.MonosemanticPenalty(
        0.3, 0.2, form="phi", **common, name="invariant"
    )
    relative = km.layers.MonosemanticPenalty(
        0.3, 0.2, form="relative", **common, name="relative"
    )
    outputs = [layer(h, padding_mask=padding) for layer in layers]
    other = relative(other, padding_mask=padding)
    outputs.append(invariant(other, padding_mask=padding))
    third = km.layers.MonosemanticInhibition(
        0.2, gradient="scale_invariant", **common, name="pulled"
    )(third, padding_mask=padding)
    behind = km.layers.MonosemanticPenalty(0.3, 2, form="phi", **common, name="behind")
    outputs.append(behind(third, padding_mask=padding))
    out = keras.layers.Add()(outputs)
    made = keras.Model({"x": x, "padding": padding}, out)
    # Only the penalties teach: their gradients are what has to be global.
    made.compile(keras.optimizers.SGD(RATE), loss=_nothing)
    return made


def gradient_layers():
    """Layers whose change of the gradient at their input is compared, by name."""
    common = {"axis": -1, "start_step": 2}
    forms = {
        form: km.layers.MonosemanticPenalty(1.0, 0.2, form=form, **common)
        for form in ("l2e", "phi", "log_phi", "relative")
    }
    inhibition = km.layers.MonosemanticInhibition(
        0.2, gradient="scale_invariant", **common
    )
    return {**forms, "scale_invariant": inhibition}


def gradient_batches():
    """`(z, padding, gradient behind the layer)` of four batches of activations."""
    random = np.random.default_rng(4)
    shape = (4, ROWS, UNITS)
    z = random.standard_t(4, size=shape) * np.linspace(0.2, 5, UNITS) + 1.0
    padding, behind = random.random(shape[:2]) > 0.2, random.normal(size=shape)
    found = [each.astype("float32") for each in (z, padding, behind)]
    return list(zip(*found, strict=True))


def objective(layer, z, padding, behind, replicas=1):
    """Something whose gradient with respect to z holds what the layer puts there."""
    outputs = layer(z, padding_mask=padding, training=True)
    # A replica's penalty: their average is the penalty of all.
    return keras.ops.sum(behind * outputs) + sum(layer.losses) / replicas


def _nothing(y, prediction):
    return 0.0 * keras.ops.mean(keras.ops.nan_to_num(prediction) - y, axis=-1)


class Tau(keras.callbacks.Callback):
    """What the layers' selectors knew after each step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.steps.append(selector_states(self.model))


def selector_states(made):
    return [
        [
            made.get_layer(name).selector_state[key]
            for key in ("threshold", "selected_fraction")
        ]
        for name in ("follows", "penalty")
    ]


def knowledge(made, tau, numbers=None):
    """Everything that is compared, as NumPy arrays by name."""
    numbers = numbers or keras.ops.convert_to_numpy
    found = {"tau": np.array(tau)}
    found |= {name: numbers(made.get_layer(name).kernel) for name in KERNELS}
    for name in LAYERS:
        layer = made.get_layer(name)
        found |= {f"{name} {v.name}": numbers(v) for v in layer.saved_variables()}
        # How the mean is divided between the two is rounding.
        remainder = np.array(found.pop(f"{name} mean_compensation"), "float64")
        found[f"{name} mean"] = found[f"{name} mean"] + remainder
    return {name: np.array(value) for name, value in found.items()}
