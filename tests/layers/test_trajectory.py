"""Whole trainings give the same numbers on every backend.

Two networks are trained on digits: one selects by sample, one by position.

- 20 steps of `fit`, k = 1, arrive where the stored trajectory does: every backend is
  compared with the same file, so each agrees with the others, and one alone can be
  tested. See support/trajectory.py, which writes the file.
- Each of 20 steps of `train_on_batch`, k = 50, does what the papers' formulas, in
  float64 NumPy, make of the weights and statistics that it began with. So what is
  stored is not only the same everywhere but right.

A difference is relative to the root mean square of its tensor: single elements may lie
near 0, where a ratio says nothing. One of φ is relative to φ or to the k-th largest of
its row, which decides what is selected, if that is larger.
"""

import keras
import numpy as np
import pytest

from support import trajectory
from support.oracle import Oracle

TOLERANCE = 1e-4
# Two backends that are as close as this to the file are within the tolerance.
OF_STORED = TOLERANCE / 2
# How far inhibition must have moved the weights, for their agreement to say anything.
MOVED = 100 * TOLERANCE
# Where φ lies this close to the k-th largest, rounding may decide.
TIE = 1e-5
STEP_K = 50

networks = pytest.mark.parametrize("network", trajectory.NETWORKS)


def difference(one, other):
    """The largest, relative to the root mean square of each array of `one`."""
    assert set(one) == set(other)
    largest = 0.0
    for name, a in one.items():
        b = other[name]
        assert a.shape == b.shape, name
        assert np.isfinite(a).all(), name
        assert np.isfinite(b).all(), name
        furthest = np.abs(a.astype("float64") - b).max()
        if furthest > 0:
            size = np.sqrt(np.mean(np.square(a, dtype="float64")))
            largest = max(largest, furthest / size if size > 0 else np.inf)
    return largest


def stored(network):
    with np.load(trajectory.FILE) as file:
        return {n: v for n, v in file.items() if n.startswith(f"{network}/")}


class Step(Oracle):
    """The oracle of a layer that has made a choice: keeps φ, takes over the choice."""

    def select(self, phi):
        self.seen = phi
        return self.choice


def step_by_formulas(oracle, weights, x, y, choice):
    """Weights after a step of SGD, with the layer's own choice of activations."""
    w1, b1, w2, b2 = (w.astype("float64") for w in weights)
    before = x @ w1 + b1
    z = np.maximum(before, 0)
    oracle.choice = choice
    out, changed = oracle.train(z)
    rows = out if out.ndim == 2 else out.mean(axis=1)
    logits = rows @ w2 + b2
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    upstream = error @ w2.T
    if out.ndim == 3:
        upstream = np.repeat(upstream[:, None] / out.shape[1], out.shape[1], axis=1)
    gradient = np.where(changed, -oracle.strength, 1.0) * upstream * (before > 0)
    x, gradient = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    gradients = x.T @ gradient, gradient.sum(axis=0), rows.T @ error, error.sum(axis=0)
    return [
        w - trajectory.LEARNING_RATE * g
        for w, g in zip((w1, b1, w2, b2), gradients, strict=True)
    ]


def check_choice(phi, selected):
    """At least the k largest φ of each row, except where rounding may decide."""
    assert int(selected.sum(axis=-1).min()) >= STEP_K
    kth = np.partition(phi, -STEP_K, axis=-1)[..., [-STEP_K]]
    distance = np.abs(phi - kth) / np.maximum(kth, np.finfo("float32").tiny)
    assert distance[selected != (phi >= kth)].max(initial=0.0) <= TIE
    return kth


def follow(network, **options):
    """Train step by step beside the formulas, which start each step where it does."""
    model = trajectory.make(network, STEP_K, **options)
    layer = model.get_layer("inhibition")
    axes = (1,) if network == "dense" else (2,)
    oracle = Step(axes, STEP_K, start_step=trajectory.START_STEP)
    x, y, _ = trajectory.digits(network)
    for step in range(trajectory.STEPS):
        batch = slice(step * trajectory.BATCH, (step + 1) * trajectory.BATCH)
        some_x, some_y = x[batch], y[batch]
        weights = trajectory.weights(model)
        phi = layer.score(model.get_layer("hidden")(some_x))
        saved = [keras.ops.copy(v) for v in layer.saved_variables()]
        selected = trajectory.selected(model, some_x)
        for variable, value in zip(layer.saved_variables(), saved, strict=True):
            variable.assign(value)
        model.train_on_batch(some_x, some_y)

        expected = step_by_formulas(oracle, weights.values(), some_x, some_y, selected)
        if step < trajectory.START_STEP:
            assert not selected.any()
        else:
            kth = check_choice(oracle.seen, selected)
            far = np.abs(keras.ops.convert_to_numpy(phi) - oracle.seen)
            assert (far / np.maximum(oracle.seen, kth)).max() <= TOLERANCE
        found = trajectory.weights(model)
        expected = dict(zip(found, expected, strict=True))
        assert difference(expected, found) <= TOLERANCE
        found = trajectory.statistics(model)
        of_oracle = ("mean", "variance", "count")
        expected = {name: getattr(oracle, name) for name in of_oracle}
        found = {name: found[name] for name in of_oracle}
        assert difference(expected, found) <= TOLERANCE


@networks
def test_fit_arrives_where_the_stored_trajectory_does(network):
    found = trajectory.fit(network)
    assert difference(stored(network), found) <= OF_STORED


@networks
def test_inhibition_has_moved_the_stored_weights(network):
    never = trajectory.fit(network, start_step=trajectory.STEPS + 1)
    names = [name for name in never if "/after " not in name]
    assert len(names) == 4
    both = [{n: arrays[n] for n in names} for arrays in (stored(network), never)]
    assert difference(*both) >= MOVED


@networks
def test_each_step_does_what_the_formulas_say(network):
    follow(network)


def test_a_slightly_different_variance_is_noticed():
    with pytest.raises(AssertionError, match=r"<= 0\.0001"):
        follow("dense", variance_compensation=0.0101)


def test_another_strength_is_noticed():
    with pytest.raises(AssertionError):
        follow("dense", strength=1.01)
    assert difference(stored("dense"), trajectory.fit("dense", strength=1.01)) > MOVED


def test_selecting_nothing_is_noticed():
    with pytest.raises(AssertionError, match="assert 0 >= 50"):
        follow("dense", start_step=trajectory.STEPS + 1)
