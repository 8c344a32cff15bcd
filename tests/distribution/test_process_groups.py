"""Which processes share a batch on PyTorch: `keras_mono.torch.configure_replicas`."""

import copy
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_mono as km

if keras.config.backend() != "torch":
    pytest.skip("PyTorch has process groups", allow_module_level=True)

import torch
from torch import distributed

from keras_mono.torch import Adapter, configure_replicas
from support import forks
from support.group_batches import PULLING, RANKS, UNITS, data, layer, together

PROGRAM = Path(__file__).with_name("process_groups.py")
ALL = range(RANKS)
# Of a 2x2 mesh: rank 0 and 1 are the first row.
ALONG = {"data": [{0, 2}, {1, 3}], "model": [{0, 1}, {2, 3}], "all": [set(ALL)]}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of 4 processes found, by case."""
    return forks.results(PROGRAM, tmp_path_factory.mktemp("groups"), RANKS)


def trained(adapter, batches):
    adapter.train()
    for x in batches:
        adapter(x)
    return adapter


def partners(rank, name):
    (group,) = (ranks for ranks in ALONG[name] if rank in ranks)
    return group


@pytest.mark.support(
    "a process group of one's own, one axis of a mesh", jax=None, tensorflow=None
)
@pytest.mark.parametrize("name", ALONG)
def test_models_with_a_group_each(found, name):
    for rank in ALL:
        one = trained(Adapter(layer(), (None, UNITS)), together(partners(rank, name)))
        np.testing.assert_allclose(found[rank][name], one.mean, rtol=1e-5, atol=1e-6)
        tau = one.layer.selector_state["threshold"]
        np.testing.assert_allclose(found[rank][f"{name} tau"], tau, rtol=1e-5)
    groups = {tuple(found[rank][name].ravel()) for rank in ALL}
    assert len(groups) == len(ALONG[name])  # each its own, to the bit


def test_a_rank_that_trains_alone(found):
    one = trained(Adapter(layer(), (None, UNITS)), data(1))
    for name in ("alone", "scale alone"):
        np.testing.assert_allclose(found[1][name], one.mean, rtol=1e-5, atol=1e-6)
        assert not found[0][name].any()


def test_a_compiled_call(found):
    one = trained(Adapter(layer(select=2), (None, UNITS)), together({0, 2}))
    for rank in (0, 2):
        mean = found[rank]["compiled"]
        np.testing.assert_allclose(mean, one.mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["l2e", "phi"])
def test_the_penalty_and_its_gradient(found, form):
    for rank in ALL:
        penalty = Adapter(
            layer(km.layers.MonosemanticPenalty, form=form, weight=1.0), (None, UNITS)
        )
        weight = torch.eye(UNITS, requires_grad=True)
        for x in together(partners(rank, "data")):
            weight.grad = None
            trained(penalty, [x @ weight.T])
            penalty.loss.backward()
        mean, gradient = (found[rank][f"{form} {x}"] for x in ("mean", "gradient"))
        np.testing.assert_allclose(mean, penalty.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", PULLING)
def test_gradients_that_are_changed(found, kind):
    """Of a loss that is a sum over the batch: the replicas average theirs."""
    for rank in ALL:
        adapter = Adapter(PULLING[kind](), (None, UNITS)).train()
        weight = torch.eye(UNITS, requires_grad=True)
        for x in together(partners(rank, "data")):
            weight.grad = None
            (adapter(x @ weight.T).square().sum() / 2).backward()
        gradient = found[rank][f"{kind} gradient"]
        np.testing.assert_allclose(gradient, weight.grad, rtol=1e-4, atol=1e-5)


def test_back_to_the_default_group(found):
    one = trained(Adapter(layer(), (None, UNITS)), together(ALL))
    for rank in ALL:
        mean = found[rank]["set anew"]
        np.testing.assert_allclose(mean, one.mean, rtol=1e-5, atol=1e-6)


@pytest.fixture
def group(tmp_path):
    """The default process group, of this process alone."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    yield distributed.group.WORLD
    distributed.destroy_process_group()


def test_every_layer_of_a_model_gets_the_group(group):
    adapters = [Adapter(layer(), (None, UNITS)) for _ in range(2)]
    scale = km.layers.MonosemanticScale(axis=-1)
    nested = keras.Sequential([keras.Input((UNITS,)), layer()])
    outer = keras.Sequential([keras.Input((UNITS,)), nested, scale])
    module = torch.nn.Sequential(*adapters)
    for model in (module, outer):
        configure_replicas(model, group)
    layers = [adapter.layer for adapter in adapters] + [nested.layers[0], scale]
    assert all(each.process_group is group for each in layers)
    configure_replicas(scale)
    assert scale.process_group is None


def test_copies_and_files_do_not_hold_a_group(group, tmp_path):
    adapter = Adapter(layer(), (None, UNITS))
    model = keras.Sequential([keras.Input((UNITS,)), layer(name="inhibition")])
    for each in (adapter, model):
        configure_replicas(each, group)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    copies = [copy.deepcopy(adapter).layer, loaded.get_layer("inhibition")]
    assert [each.process_group for each in copies] == [None, None]


@pytest.mark.parametrize(
    "wrong", [[0, 1], "data", distributed.GroupMember.NON_GROUP_MEMBER]
)
def test_what_is_no_group_of_this_process(wrong):
    with pytest.raises(TypeError, match="process_group"):
        configure_replicas(layer(), wrong)


@pytest.mark.parametrize(
    "model", [torch.nn.Linear(2, 2), keras.Sequential([keras.Input((2,))]), None]
)
def test_a_model_without_layers(model):
    with pytest.raises(
        ValueError, match=r"has no layer of this|Expected a Keras model"
    ):
        configure_replicas(model)
