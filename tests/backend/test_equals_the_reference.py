"""Every function that a backend does otherwise gives what the definition gives."""

import inspect
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from keras_mono.backend import Statistics, ThresholdState, backend
from keras_mono.backend.reference import Reference
from keras_mono.ops.scale_invariant_deactivate import deactivate_as_defined
from keras_mono.ops.scale_invariant_penalty import mean_of
from keras_mono.ops.scale_invariant_pull import pull_as_defined
from support.small import Calls
from support.training import numbers, value_and_gradient

BACKEND = keras.config.backend()
CHOSEN = {"chosen": backend}
ON_GPU = False  # where Keras' `max` with an initial value mixes devices, on PyTorch
if BACKEND == "torch":
    import torch

    from keras_mono.backend.torch import chosen as form_named

    # Dynamo, on a tuple with names that the graph returns.
    FAILS_ON_ITS_RESULT = torch.__version__ < "2.12"

    class Compiled:
        """A form, each of whose functions PyTorch's compiler traces."""

        def __init__(self, form):
            self.form = form

        def __getattr__(self, name):
            torch._dynamo.reset()
            function = getattr(self.form, name)
            if name == "measure" and FAILS_ON_ITS_RESULT:
                return function
            return torch.compile(function, fullgraph=True, backend="eager")

    ON_GPU = torch.cuda.is_available()
    accelerator = form_named("accelerator")
    CHOSEN = {
        "CPU": form_named(""),
        "accelerator": accelerator,
        "compiled": Compiled(accelerator),
    }
REFERENCE = Reference()
RNG = np.random.default_rng(0)
# Those that tell what the backend is doing, or hold its state, are no arithmetic.
NO_ARITHMETIC = {
    "all_reduce_mean",
    "all_reduce_sum",
    "all_reduce_sums",
    "assign",
    "beside",
    "cond",
    "count_up",
    "device_of",
    "held",
    "is_compiling",
    "is_foreign_module",
    "is_held_by_fit",
    "is_transformed",
    "known",
    "mask_for_loop",
    "num_replicas",
    "random_state",
    "remember",
    "replica_index",
    "variables_are_parameters",
}


def tensor(x, dtype="float32"):
    x = numbers(x) if ops.is_tensor(x) else x
    return ops.convert_to_tensor(np.asarray(x, dtype))


def batch(kind):
    z = RNG.normal(3.0, 2.0, (40, 6, 5))
    mask = None
    if kind != "plain":
        mask = RNG.random((40, 6, 1)) < 0.7
    if kind == "with bad entries":
        z[3, 2, 1], z[4, 0, 2], z[5, 1, 3], z[:, :, 4] = np.nan, np.inf, 1e20, np.nan
    if kind == "with constant neurons":  # one of which was elsewhere before
        z[:, :, 1], z[:, :, 2] = 0.1, 1e4
    return tensor(z), None if mask is None else tensor(mask, "bool")


def statistics(kind):
    if kind == "no history":
        return Statistics(*(tensor(np.zeros((1, 1, 5))) for _ in range(5)))
    shape = (1, 1, 5)
    count = np.full(shape, 2000.0)
    if kind == "short histories":
        count[..., :3] = 0.0, 1.0, 2.0
    variance = np.where(count > 1, RNG.uniform(1.0, 4.0, shape), 0.0)
    mean = np.where(count > 0, RNG.normal(3.0, 0.1, shape), 0.0)
    small = np.where(count > 0, RNG.normal(0.0, 1e-3, shape), 0.0)
    largest = np.minimum(count, 210.0)
    return Statistics(*map(tensor, (mean, small, variance, count, largest)))


def expect_same(one, other, rtol=2e-5, atol=2e-6):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(numbers(a), numbers(b), rtol=rtol, atol=atol)


BATCHES = ["plain", "masked", "with bad entries", "with constant neurons"]
HISTORIES = ["no history", "short histories", "history"]


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("kind", BATCHES)
def test_measure_and_merge(kind, history, chosen):
    z, mask = batch(kind)
    before, results = statistics(history), []
    for one in (CHOSEN[chosen], REFERENCE):
        has_history = history != "no history"
        squared, moments = one.measure(z, mask, before, (0, 1), has_history)
        after = one.merge(before, moments, 10)
        mean = numbers(after.mean) + numbers(after.mean_compensation)
        figures = moments.num_skipped, tensor(moments.num_entries)
        kept = numbers(squared), mean, *(numbers(x) for x in after[2:])
        results.append([*map(tensor, kept), *figures])
    expect_same(*results, rtol=1e-4)


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("history", HISTORIES)
def test_precision_and_phi(history, chosen):
    given, squared = statistics(history), RNG.random((8, 6, 5))
    results = []
    for one in (CHOSEN[chosen], REFERENCE):
        precision = one.precision(given, 0.01)
        results.append([precision, one.phi(tensor(squared), precision)])
    expect_same(*results)


@pytest.mark.parametrize("chosen", CHOSEN)
def test_numbers(chosen):
    x, y = tensor(RNG.normal(size=(9, 7))), tensor(RNG.random((9, 7)))
    mask = tensor(RNG.random((9, 7)) < 0.5, "bool")
    five = [tensor(RNG.random(5) + 1.0) for _ in range(5)]

    def of(one):
        return [
            one.valid(x * 1e17, mask),
            one.deviation(x, mask, Statistics(0.3, 0.01, 1.0, 9.0, 9.0)),
            *one.union(*five),
            one.inverse(tensor([0.0, 1e-38, 2.0])),
            one.at_least(y, tensor(0.5)),
            one.count_true(mask),
            one.count_selected(mask, five[0]),
            *([] if ON_GPU else [one.max_over(y, (1,))]),
            one.entry(x[0], 2),
            one.entry(x[0], tensor(2.0)),
            one.computed_once(y),
            one.total(x),
            one.sum_over(x, (0,)),
            one.quick_sum_over(x, (0,)),
            one.count_over(mask, (0,)),
            *one.sums_over((0,), mask, x),
            tensor(one.num_entries(x, None, (0,))),
            one.num_entries(x, mask, (0,)),
            one.where(mask, x, 0.0),
            one.clip(x, -0.5, 0.5),
            one.clip(x, None, 0.5),
            one.lerp(x, y, 0.3),
            one.replaced(five[0], [*"abcde"], b=2.0, d=five[1][0]),
        ]

    expect_same(of(CHOSEN[chosen]), of(REFERENCE))


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("rows", [1, 2, 7, 12])
def test_sums_over_any_number_of_rows(rows, chosen):
    x = tensor(RNG.normal(size=(rows, 4)))

    def of(one):
        return [*one.sum_and_squares(x, (0,)), one.count_over(x > 0.0, (0,))]

    expect_same(of(CHOSEN[chosen]), of(REFERENCE))


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("strength", [1.0, 0.0, -2.5])
def test_replace(strength, chosen):
    z, mean = RNG.normal(size=(9, 7)).astype("float32"), tensor(RNG.normal(size=(1, 7)))
    selected = tensor(RNG.random((9, 7)) < 0.3, "bool")
    upstream = RNG.normal(size=(9, 7))

    def of(one):
        layer = Calls(lambda z: one.replace(z, selected, mean, strength))
        return map(tensor, value_and_gradient(layer, z, upstream))

    expect_same(of(CHOSEN[chosen]), of(REFERENCE))


@pytest.mark.parametrize("chosen", CHOSEN)
def test_replace_by(chosen):
    z, mean = RNG.normal(size=(9, 7)).astype("float32"), tensor(RNG.normal(size=(1, 7)))
    selected = tensor(RNG.random((9, 7)) < 0.3, "bool")
    upstream, other = RNG.normal(size=(9, 7)), tensor(RNG.normal(size=(9, 7)))

    def pull(upstream, x):
        return ops.abs(upstream) * x

    def of(one):
        layer = Calls(lambda z: one.replace_by(z, selected, mean, pull, other))
        return map(tensor, value_and_gradient(layer, z, upstream))

    value, gradient = of(CHOSEN[chosen])
    expect_same((value, gradient), of(REFERENCE))
    expect_same([gradient], [tensor(np.abs(upstream) * numbers(other))])


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("share", [0.3, 0.0])
@pytest.mark.parametrize("weight", [0.5, np.float32(0.5)])
def test_log_penalty(weight, share, chosen):
    z, mean = RNG.normal(size=(9, 7)).astype("float32"), tensor(RNG.normal(size=(1, 7)))
    selected = tensor(RNG.random((9, 7)) < share, "bool")
    small = tensor(RNG.normal(size=(1, 7)) * 1e-6)
    weight = weight if isinstance(weight, float) else tensor(weight)

    def of(one):
        layer = Calls(lambda z: one.log_penalty(z, selected, mean, small, weight))
        return map(tensor, value_and_gradient(layer, z, 1.5))

    expect_same(of(CHOSEN[chosen]), of(REFERENCE), rtol=1e-4)


def moments_of(z, mask, axes, one):
    """Measured from somewhere near the means."""
    size = tensor(np.ones((1, 1, 5)))
    before = Statistics(2.5 * size, 1e-8 * size, size, 9.0 * size, 9.0 * size)
    return one.measure(z, mask, before, axes)[1]


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("known", [False, True])
def test_mean_phi(known, kind, chosen):
    z, mask = batch(kind)
    valid, axes = REFERENCE.valid(z, mask), (0, 1)
    selected = ops.logical_and(tensor(RNG.random(z.shape) < 0.3, "bool"), valid)
    of_z = {"selected": selected, "valid": valid, "axes": axes, "of": "phi"}
    definition = partial(mean_of, **of_z)

    def of(one):
        moments = moments_of(z, mask, axes, one) if known else None
        layer = Calls(
            lambda z: one.mean_phi(definition, z, selected, valid, axes, moments)
        )
        return map(tensor, value_and_gradient(layer, numbers(z), 1.5))

    expect_same(of(CHOSEN[chosen]), of(REFERENCE), rtol=1e-4)


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("kind", BATCHES)
@pytest.mark.parametrize("known", [False, True])
def test_scale_invariant_gradients(known, kind, chosen):
    z, mask = batch(kind)
    valid, axes = REFERENCE.valid(z, mask), (0, 1)
    selected = ops.logical_and(tensor(RNG.random(z.shape) < 0.3, "bool"), valid)
    mean = tensor(np.full((1, 1, 5), 2.5))
    share = 0.0 if kind == "with constant neurons" else 0.3
    at_mean = ops.logical_and(selected, tensor(RNG.random(z.shape) < share, "bool"))
    z, upstream = numbers(ops.where(at_mean, mean, z)), RNG.normal(size=z.shape)
    weight = tensor(0.5) if known else 0.5

    def of(one):
        moments = moments_of(tensor(z), mask, axes, one) if known else None

        def pull(z):
            of = z, selected, valid, weight, axes, moments
            return one.pull(pull_as_defined, *of)

        def deactivate(z):
            of = z, selected, valid, mean, weight, axes, moments
            return one.deactivate(deactivate_as_defined, *of)

        layers = Calls(lambda z: pull(z)[0]), Calls(deactivate)
        found = [value_and_gradient(layer, z, upstream) for layer in layers]
        return map(tensor, [pull(tensor(z))[1], *found[0], *found[1]])

    expect_same(of(CHOSEN[chosen]), of(REFERENCE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chosen", CHOSEN)
def test_replicas_without_samples_send_what_the_others_send(chosen):
    one, state = CHOSEN[chosen], tensor(np.zeros(10))
    shapes = [
        tuple(one.count_selected(tensor(np.ones((rows, 4)), "bool"), state).shape)
        for rows in (3, 0)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize("counted", [100.0, 0.0])
def test_follow(counted, chosen):
    given = ThresholdState(5.0, 0.1, 7.0, 0.2, 0.3, 1.8, 0.1, 0.2, 0.0, 0.0)
    number = tensor(min(counted, 7.0))
    of = number, tensor(max(counted, 1.0)), tensor(min(counted, 0.02))
    found = [[one.follow(tensor(given), *of)] for one in (CHOSEN[chosen], REFERENCE)]
    expect_same(*found)


def test_no_function_is_left_out():
    """A function that is added to the interface is compared here too."""
    tested = inspect.getsource(inspect.getmodule(test_no_function_is_left_out))
    names = [name for name in vars(Reference) if not name.startswith("_")]
    compared = [name for name in names if f".{name}(" in tested]
    indirectly = {"moments"}  # by `measure`
    assert set(names) == {*compared, *NO_ARITHMETIC, *indirectly}
