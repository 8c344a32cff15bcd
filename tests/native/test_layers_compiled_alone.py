"""Layers whose `call` is compiled, in a Keras model that PyTorch runs eagerly."""

import copy

import keras
import numpy as np
import pytest

import keras_mono as km
from support.small import chain, fit, normal

if keras.backend.backend() != "torch":
    pytest.skip("torch.compile", allow_module_level=True)

import torch

from keras_mono.torch import Adapter

LAYERS = {
    "scale": lambda **k: km.layers.MonosemanticScale(**k),
    "top-1": lambda **k: km.layers.MonosemanticInhibition(start_step=2, **k),
    "threshold": lambda **k: km.layers.MonosemanticInhibition(0.1, start_step=2, **k),
    "scale_invariant": lambda **k: km.layers.MonosemanticInhibition(
        0.1, start_step=2, gradient="scale_invariant", **k
    ),
    "relative": lambda **k: km.layers.MonosemanticPenalty(start_step=2, **k),
    "l2e": lambda **k: km.layers.MonosemanticPenalty(form="l2e", start_step=2, **k),
}
X = normal(64, 8)
Y = X[:, :2]


def trained(kind, compiled, fullgraph=True):
    """A model after two epochs of `fit`, its layer, and the losses."""
    keras.utils.set_random_seed(0)
    layer = LAYERS[kind](axis=-1, name="layer")
    dense = keras.layers.Dense
    model = chain((8,), dense(16, "relu"), layer, dense(2), jit_compile=False)
    if compiled:
        torch._dynamo.reset()
        layer.call = torch.compile(layer.call, fullgraph=fullgraph, backend="eager")
    losses = fit(model, X, Y).history["loss"]
    with torch._dynamo.config.patch(error_on_recompile=True):
        losses += fit(model, X, Y).history["loss"]
    return model, layer, losses


@pytest.mark.parametrize("kind", LAYERS)
def test_fit_with_a_compiled_layer_equals_an_eager_one(kind):
    eager, expected, losses = trained(kind, compiled=False)
    model, layer, found = trained(kind, compiled=True)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    assert int(layer.step) == 16
    for a, b in zip(layer.saved_variables(), expected.saved_variables(), strict=True):
        torch.testing.assert_close(a.value, b.value)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), eager.predict(X, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_and_bad_entries_are_counted_as_in_an_eager_layer(kind):
    z, mask = normal(6, 8, 5, 4), normal(8, 5) < 0.5
    z[1:, :3, :2, 1] = np.nan  # some of them masked
    bad = np.isnan(z) & mask[..., np.newaxis]
    layers = [LAYERS[kind](axis=-1) for _ in range(2)]
    torch._dynamo.reset()
    for layer, call in zip(layers, (lambda f: f, compiled), strict=True):
        layer.build(z.shape[1:])
        layer.call = call(layer.call)
        for batch in z:
            layer(batch, mask=mask, training=True)
    eager, other = layers
    assert int(other.non_finite) == bad.sum()
    for a, b in zip(other.saved_variables(), eager.saved_variables(), strict=True):
        torch.testing.assert_close(a.value, b.value)


def compiled(call):
    return torch.compile(call, fullgraph=True, backend="eager")


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: km.layers.MonosemanticInhibition(5, **k),
        lambda **k: km.layers.MonosemanticInhibition(
            5, gradient="scale_invariant", **k
        ),
        lambda **k: km.layers.MonosemanticInhibition(
            km.selectors.Random(0.5, seed=0), **k
        ),
        lambda **k: km.layers.MonosemanticPenalty(10.0, 5, form="l2e", **k),
    ],
    ids=["reversed", "scale_invariant", "random", "l2e"],
)
def test_the_gradient_is_of_the_statistics_before_the_batch(make):
    """The graph has changed them by then, and computes again what it did not keep."""
    found = []
    for ahead_of_time in (False, True):
        torch._dynamo.reset()
        torch.manual_seed(0)
        adapter = Adapter(make(axis=-1, start_step=2, forget_steps=1), (None, 8))
        module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), adapter)
        call = torch.compile(module, backend="aot_eager") if ahead_of_time else module
        gradients = []
        for i, x in enumerate(normal(6, 16, 8)):
            x = torch.tensor(x + 2.0 * (i % 2)).requires_grad_()
            (call(x).square().sum() + adapter.loss).backward()
            gradients.append(x.grad)
        found.append(gradients)
    torch.testing.assert_close(*found)


def test_what_is_done_with_a_model_whose_layer_is_compiled(tmp_path):
    model, layer, _ = trained("threshold", compiled=True, fullgraph=False)
    outputs = model.predict(X, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for other in (loaded, km.strip(model), keras.models.clone_model(model)):
        assert other.predict(X, verbose=0).shape == outputs.shape
    np.testing.assert_allclose(loaded.predict(X, verbose=0), outputs, rtol=1e-6)
    np.testing.assert_allclose(km.strip(model).predict(X, verbose=0), outputs)
    assert int(loaded.get_layer("layer").step) == 16
    fit(loaded, X, Y)  # which has statistics of its own, and is not compiled
    assert int(layer.step) == 16
    km.calibrate(model, X, batch_size=16)
    assert int(layer.step) == 4
    assert "call" in vars(layer)
    del layer.call
    fit(model, X, Y)
    assert int(layer.step) == 12


def test_an_adapter_compiled_in_place_equals_an_eager_one():
    adapters = [
        Adapter(LAYERS["threshold"](axis=-1), (None, 8)).train() for _ in range(2)
    ]
    names = list(adapters[0].state_dict())
    adapters[0].compile(fullgraph=True, backend="eager")
    for seed in range(5):
        x = torch.from_numpy(normal(16, 8, seed=seed))
        outputs = [adapter(x) for adapter in adapters]
        torch.testing.assert_close(*outputs)
    states = [adapter.state_dict() for adapter in adapters]
    assert list(states[0]) == names
    torch.testing.assert_close(*states)


def counted(adapters, **options):
    """Compile adapters in place; a list that grows with each graph."""
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    for adapter in adapters:
        adapter.compile(backend=backend, **options)
    return graphs


def test_layers_that_are_alike_share_a_graph():
    adapters = [
        Adapter(LAYERS["threshold"](axis=-1, name=f"layer_{i}"), (None, 8)).train()
        for i in range(12)
    ]
    graphs = counted(adapters, fullgraph=True)
    for adapter in adapters:
        for _ in range(3):
            adapter(torch.rand(16, 8))
    assert len(graphs) == 1
    assert [int(adapter.step) for adapter in adapters] == [3] * 12


def test_a_mask_after_batches_of_several_lengths():
    adapter = Adapter(LAYERS["top-1"](axis=-1), (None, None, 8)).train()
    counted([adapter], fullgraph=True)
    for rows, length, masked in ((8, 16, False), (8, 12, True), (4, 9, True)):
        mask = torch.ones(rows, length, dtype=torch.bool) if masked else None
        adapter(torch.rand(rows, length, 8), mask)
    assert int(adapter.step) == 3


def test_a_copy_of_a_compiled_adapter_is_eager_and_its_own(tmp_path):
    adapter = Adapter(LAYERS["threshold"](axis=-1), (None, 8)).train()
    graphs = counted([adapter])
    adapter(torch.rand(16, 8))
    twin = copy.deepcopy(adapter)
    for _ in range(3):
        twin(torch.rand(16, 8))
    assert (int(adapter.step), int(twin.step), len(graphs)) == (1, 4, 1)
    torch.save(adapter, tmp_path / "adapter.pt")
    loaded = torch.load(tmp_path / "adapter.pt", weights_only=False)
    loaded(torch.rand(16, 8))
    assert (int(adapter.step), int(loaded.step)) == (1, 2)


def test_the_gradient_of_l2e_uses_the_means_before_the_batch():
    """Which the graph overwrites before it computes the gradient."""
    torch._dynamo.reset()
    layer = km.layers.MonosemanticPenalty(1.0, form="l2e", start_step=2)
    adapter = Adapter(layer, (None, 16)).train()
    adapter.compile(fullgraph=True, backend="aot_eager")
    for seed in range(3):
        before = adapter.mean.clone()
        x = torch.from_numpy(normal(64, 16, seed=seed)).requires_grad_()
        adapter(x)
        adapter.loss.backward()
    selected = x.grad != 0.0
    assert selected.sum() > 5
    expected = torch.where(selected, 2 / (x - before) / selected.sum(), 0.0)
    torch.testing.assert_close(x.grad, expected.detach(), rtol=1e-5, atol=1e-7)
