"""What other modules and tools do to an adapter's input, output and graph."""

import keras
import pytest

import keras_mono as km
from support.torch_layers import ALSO_ALWAYS, LATER

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from keras_mono.torch import Adapter  # noqa: E402

IN_PLACE = {
    "relu": lambda: torch.nn.ReLU(inplace=True),
    "dropout": lambda: torch.nn.Dropout(0.5, inplace=True),
    "leaky": lambda: torch.nn.LeakyReLU(0.1, inplace=True),
}


def batch(seed, shape=(12, 8)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) ** 3


def network(kind, *after):
    torch.manual_seed(0)
    adapter = Adapter(ALSO_ALWAYS[kind](), (None, 16))
    return torch.nn.Sequential(torch.nn.Linear(8, 16), adapter, *after)


def gradient(model, x):
    torch.manual_seed(1)
    model.zero_grad()
    (model(x).square().sum() + model[1].loss).backward()
    return model[0].weight.grad.clone()


@pytest.mark.parametrize("kind", ALSO_ALWAYS)
@pytest.mark.parametrize("after", IN_PLACE)
def test_a_module_that_works_in_place_may_follow(kind, after):
    in_place = network(kind, IN_PLACE[after]())
    reference = network(kind, IN_PLACE[after]())
    reference[2].inplace = False
    for seed in range(4):
        found = gradient(in_place, batch(seed))
        torch.testing.assert_close(found, gradient(reference, batch(seed)))
    assert int(in_place[1].step) == 4


@pytest.mark.parametrize("order", ["contiguous", "transposed", "channels last"])
def test_in_place_after_an_input_of_any_order_in_memory(order):
    shape = (4, 8, 3, 3)
    layers = [km.layers.MonosemanticInhibition(axis=1, start_step=1) for _ in "ab"]
    one, two = (Adapter(layer, (None, *shape[1:])) for layer in layers)
    for seed in range(3):
        z = batch(seed, shape)
        if order == "transposed":
            z = batch(seed, (4, 3, 3, 8)).permute(0, 3, 1, 2)
        elif order == "channels last":
            z = z.to(memory_format=torch.channels_last)
        a, b = (z.clone().requires_grad_() for _ in "ab")
        torch.nn.functional.relu(one(a), inplace=True).sum().backward()
        torch.nn.functional.relu(two(b)).sum().backward()
        assert torch.equal(a.grad, b.grad)


def test_what_deactivate_returns_may_be_changed_in_place():
    z = batch(0).requires_grad_()
    selected = z.detach() > 1
    out = km.ops.deactivate(z * 1.0, selected, 0.5)
    out.mul_(2.0)
    out.sum().backward()
    assert torch.equal(z.grad, torch.where(selected, -2.0, 2.0))


def test_in_place_after_a_layer_that_is_called_itself():
    layer = km.layers.MonosemanticInhibition(**LATER)
    for seed in range(3):
        z = batch(seed).requires_grad_()
        layer(z * 1.0, training=True).relu_().sum().backward()
    assert int(layer.step) == 3


@pytest.mark.parametrize("kind", ALSO_ALWAYS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_symbolic_trace_keeps_the_adapter_as_a_module(kind, mode):
    model, reference = (network(kind, torch.nn.ReLU()) for _ in "ab")
    for seed in range(3):
        model(batch(seed))
        reference(batch(seed))
    graph = torch.fx.symbolic_trace(getattr(model, mode)())
    assert [n.op for n in graph.graph.nodes if n.target == "1"] == ["call_module"]
    getattr(graph, mode)(), getattr(reference, mode)()
    assert torch.equal(graph(batch(7)), reference(batch(7)))
    steps = 4 if mode == "train" else 3
    adapter = graph.get_submodule("1")
    assert int(adapter.step) == int(reference[1].step) == steps
    graph.train(), reference.train()
    assert torch.equal(graph(batch(8)), reference(batch(8)))
    assert torch.equal(adapter.loss, reference[1].loss)


def test_symbolic_trace_with_a_padding_mask():
    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layer = km.layers.MonosemanticScale(axis=-1)
            self.scale = Adapter(layer, (None, None, 4))

        def forward(self, x, mask):
            return self.scale(x, padding_mask=mask) + 1

    graph = torch.fx.symbolic_trace(Padded())
    graph(batch(0, (2, 3, 4)), torch.tensor([[1, 1, 0], [1, 0, 0]]))
    assert graph.scale.count.flatten().tolist() == [3.0] * 4


@pytest.mark.parametrize("kind", ALSO_ALWAYS)
def test_export_for_inference(kind):
    model = network(kind, torch.nn.ReLU())
    for seed in range(3):
        model(batch(seed))
    model.eval()
    exported = torch.export.export(model, (batch(7),)).module()
    torch.testing.assert_close(exported(batch(8)), model(batch(8)))
    model.train()(batch(9))  # the layer has its own tensors again
    assert int(model[1].step) == int(model[1].layer.step) == 4


@pytest.mark.parametrize("kind", ALSO_ALWAYS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_blocks_tuple_is_an_error_that_says_what_to_pass(kind, mode):
    adapter = getattr(Adapter(ALSO_ALWAYS[kind](), (None, 8)), mode)()
    block = torch.nn.LSTM(8, 8, batch_first=True)
    with pytest.raises(TypeError, match=r"tuple.*output\[0\]"):
        adapter(block(batch(0)))
    with pytest.raises(TypeError, match=r"list.*output\[0\]"):
        adapter([batch(0)])
    with pytest.raises(TypeError, match=r"dict.*by its name"):
        adapter({"hidden": batch(0)})
    with pytest.raises(TypeError, match=r"Received: a NoneType"):
        adapter(None)
    assert int(adapter.step) == 0


@pytest.mark.parametrize("kind", ALSO_ALWAYS)
def test_an_input_of_another_width_is_an_error(kind):
    adapter = Adapter(ALSO_ALWAYS[kind](), (None, 8))
    with pytest.raises(ValueError, match="was built for inputs of shape"):
        adapter(batch(0, (12, 1)))
    assert int(adapter.step) == 0


def test_a_mask_for_attention_scores_is_an_error():
    adapter = Adapter(km.layers.MonosemanticScale(axis=-1), (None, None, 8)).train()
    x, kept = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 0, 0]] * 2)
    with pytest.raises(ValueError, match=r"must be boolean or integer.*attention_mask"):
        adapter(x, (1.0 - kept) * -1e9)
    adapter(x, kept)
    assert adapter.count.unique().tolist() == [6.0]
