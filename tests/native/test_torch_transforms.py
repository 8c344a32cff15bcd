"""Adapters under `torch.func`, as BatchNorm1d: each entry of a map on its own."""

import keras
import pytest

import keras_mono as km
from support.torch_layers import ALL_WAYS

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from torch.func import functional_call, grad, jvp, stack_module_state, vmap  # noqa: E402

from keras_mono.torch import Adapter  # noqa: E402

MODELS, BATCH = 3, 24


def batch(seed):
    return torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(seed)) ** 3


def batches(seed):
    return torch.stack([batch(10 * seed + i) for i in range(MODELS)])


def made(kind):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), Adapter(ALL_WAYS[kind](), (None, 8))
    )


def loss_of(model, x):
    return (model(x) ** 2).sum() + model[1].loss


@pytest.mark.parametrize("kind", ALL_WAYS)
def test_an_ensemble_trains_as_its_models_do(kind):
    """Values, gradients and statistics; over the first batches and the first τ."""
    alone, template = [made(kind) for _ in range(MODELS)], made(kind)
    params, buffers = stack_module_state([made(kind) for _ in range(MODELS)])

    def loss(params, buffers, x):
        def call(x):
            return functional_call(template, (params, buffers), (x,))

        return (call(x) ** 2).sum() + template[1].loss

    for seed in range(5):
        x = batches(seed)
        with keras.device("meta"):  # Keras' own device is another
            gradients = vmap(grad(loss))(params, buffers, x)
        for i, model in enumerate(alone):
            model.zero_grad()
            loss_of(model, x[i]).backward()
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(gradients[name][i], parameter.grad)
            for name, buffer in model.named_buffers():
                torch.testing.assert_close(buffers[name][i], buffer)
    assert buffers["1.step"].tolist() == [5] * MODELS
    assert int(template[1].step) == int(template[1].layer.step) == 0


def test_gradients_of_each_sample_at_inference():
    model = made("top-k")
    for seed in range(3):
        model(batch(seed))
    model.eval()
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return functional_call(model, parameters, (x[None],)).square().sum()

    x = batch(7)
    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)["0.weight"]
    for i in (0, 5):
        model.zero_grad()
        model(x[i : i + 1]).square().sum().backward()
        torch.testing.assert_close(found[i], model[0].weight.grad)


@pytest.mark.parametrize("per", ["sample", "position"])
def test_inhibition_that_is_always_active(per):
    select = km.selectors.TopK(2, per)
    layer = km.layers.MonosemanticInhibition(
        select, active="always", axis=-1, start_step=2
    )
    adapter = Adapter(layer, (None, 6))
    for seed in range(3):
        adapter(batch(seed))
    adapter.eval()
    x = batches(4)
    expected = torch.stack([adapter(part) for part in x])
    assert not torch.equal(expected, x)
    assert torch.equal(vmap(adapter)(x), expected)
    _, tangent = jvp(adapter, (x[0],), (torch.ones_like(x[0]),))
    selected = adapter.layer.selected(x[0])
    assert selected.any()
    assert torch.equal(tangent, torch.where(selected, -1.0, 1.0))
    assert int(adapter.step) == 3


@pytest.mark.parametrize("kind", ALL_WAYS)
@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp"])
def test_statistics_that_cannot_be_kept_are_an_error(kind, transform):
    adapter = Adapter(ALL_WAYS[kind](), (None, 6))
    for seed in range(3):
        adapter(batch(seed))
    before = {k: v.clone() for k, v in adapter.state_dict().items()}
    x = batches(4)
    calls = {
        "vmap": lambda: vmap(adapter)(x),
        "grad": lambda: grad(lambda z: adapter(z).sum())(x[0]),
        "jvp": lambda: jvp(adapter, (x[0],), (x[0],)),
    }
    with pytest.raises(RuntimeError, match=r"module.eval\(\)"):
        calls[transform]()
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, before[name]), name
    adapter(batch(5))  # and it goes on
    assert int(adapter.layer.step) == 4
