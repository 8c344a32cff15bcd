"""Layers whose batches are shared within parts of 4 processes (PyTorch).

    python process_groups.py FOLDER 4

Each process saves the mean of each layer, by the name of the case: see `forks`.
"""

import keras
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import keras_mono as km
from keras_mono.torch import Adapter, configure_replicas
from support import forks
from support.group_batches import PULLING, UNITS, data, layer

ONE_GROUP = (0, 2)  # along the axis "data"


def find(rank):
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "model"))
    return {
        **two_models(rank, mesh),
        **alone(rank),
        **penalized(rank, mesh.get_group("data")),
        **pulled(rank, mesh.get_group("data")),
        "set anew": set_anew(rank, mesh),
        "compiled": compiled(rank, mesh.get_group("data")),
    }


def two_models(rank, mesh):
    """One shares along an axis of the mesh, one along the other, one with all."""
    groups = {"data": mesh.get_group("data"), "model": mesh.get_group("model")}
    models = {}
    for name in ("data", "model", "all"):
        adapter = Adapter(layer(), (None, UNITS))
        models[name] = torch.nn.Sequential(torch.nn.Identity(), adapter).train()
        if name in groups:
            configure_replicas(models[name], groups[name])
    for x in data(rank):
        for model in models.values():
            model(x)
    return {name: model[1].mean.numpy() for name, model in models.items()} | {
        f"{name} tau": model[1].layer.selector_state["threshold"]
        for name, model in models.items()
    }


def alone(rank):
    """Rank 1 trains, the others do not."""
    group = distributed.new_group([1])
    made = {"alone": layer(), "scale alone": km.layers.MonosemanticScale(axis=-1)}
    adapters = {name: Adapter(made[name], (None, UNITS)).train() for name in made}
    for adapter in adapters.values() if rank == 1 else ():
        configure_replicas(adapter, group)
        for x in data(rank):
            adapter(x)
    return {name: adapter.mean.numpy() for name, adapter in adapters.items()}


def compiled(rank, group):
    """`fullgraph` fails if the choice of the group could not be traced."""
    adapter = Adapter(layer(select=2), (None, UNITS)).train()
    configure_replicas(adapter, group)
    if rank in ONE_GROUP:  # which is enough
        call = torch.compile(adapter, fullgraph=True, backend="eager")
        for x in data(rank):
            call(x)
    return adapter.mean.numpy()


def behind_weights(adapter, group):
    """The weights, and a module of both that averages gradients over the group."""
    linear = torch.nn.Linear(UNITS, UNITS, bias=False)
    torch.nn.init.eye_(linear.weight)
    module = torch.nn.Sequential(linear, adapter).train()
    configure_replicas(module, group)
    return linear, DistributedDataParallel(module, process_group=group)


def penalized(rank, group):
    """With rematerialization, which calls the layer in the backward pass, too."""
    found = {}
    for form in ("l2e", "phi"):
        penalty = Adapter(
            layer(km.layers.MonosemanticPenalty, form=form, weight=1.0), (None, UNITS)
        )
        linear, module = behind_weights(penalty, group)
        for x in data(rank):
            module.zero_grad()
            out = checkpoint(module, x, use_reentrant=False)
            (0.0 * out.sum() + penalty.loss).backward()
        found[f"{form} mean"] = penalty.mean.numpy()
        found[f"{form} gradient"] = linear.weight.grad.numpy()
    return found


def pulled(rank, group):
    """Gradients that take their sums in the backward pass."""
    found = {}
    for name, make in PULLING.items():
        linear, module = behind_weights(Adapter(make(), (None, UNITS)), group)
        for x in data(rank):
            module.zero_grad()
            module(x).square().sum().backward()
        found[f"{name} gradient"] = linear.weight.grad.numpy()
    return found


def set_anew(rank, mesh):
    """A Keras model: of the group first, then of all processes again."""
    inhibition = layer()
    model = keras.Sequential([keras.Input((UNITS,)), inhibition])
    for group in (mesh.get_group("data"), None):
        configure_replicas(model, group)
        inhibition.reset()
        for x in data(rank):
            model(x, training=True)
    return keras.ops.convert_to_numpy(inhibition.mean)


if __name__ == "__main__":
    forks.run(find)
