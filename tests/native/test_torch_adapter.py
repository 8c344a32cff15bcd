"""The adapter behaves as a PyTorch module does."""

import copy
import io
from functools import partial

import keras
import numpy as np
import pytest

import keras_mono as km
from support.torch_layers import MAKERS

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from keras_mono.backend.torch import chosen  # noqa: E402
from keras_mono.torch import Adapter  # noqa: E402

WITH_EVERY_GRADIENT = MAKERS | {
    "l2e": lambda: km.layers.MonosemanticPenalty(start_step=2, form="l2e"),
    "pulled": lambda: km.layers.MonosemanticInhibition(
        0.05, start_step=2, axis=-1, gradient="scale_invariant"
    ),
}


ELSEWHERE = "cuda" if torch.cuda.is_available() else "meta"


def module(kind="top-k", makers=MAKERS):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16),
        torch.nn.ReLU(),
        Adapter(makers[kind](), (None, 16)),
        torch.nn.Linear(16, 2),
    )


def data(seed=0):
    x = np.random.default_rng(seed).standard_t(3, size=(12, 8)).astype("float32")
    return torch.from_numpy(x)


def run(model, steps=4):
    for seed in range(steps):
        model(data(seed))
    return model


@pytest.mark.parametrize("kind", WITH_EVERY_GRADIENT)
def test_on_another_device_than_keras(kind):
    """A module on the CPU of a machine with a GPU; without one Keras' is `meta`."""
    found = []
    for keras_device in ("cpu", ELSEWHERE):
        model = module(kind, WITH_EVERY_GRADIENT)
        with keras.device(keras_device):
            for seed in range(12):
                loss = model(data(seed)).square().mean() + model[2].loss
                loss.backward()
            z = model[1](model[0](data())).detach()
            known = []
            if ELSEWHERE == "cuda":  # on `meta` variables have no values
                known = asked_directly(model[2].layer, z)
        gradients = [p.grad for p in model.parameters()]
        found.append([*gradients, *model.state_dict().values(), *known])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_gradient_of_the_gradient_on_another_device_than_keras():
    found = []
    for keras_device in ("cpu", ELSEWHERE):
        adapter = module("penalty")[2]
        z = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
        with keras.device(keras_device):
            for _ in range(4):
                adapter(z)
            z.requires_grad_()
            adapter(z)
            (gradient,) = torch.autograd.grad(adapter.loss, z, create_graph=True)
            gradient.square().sum().backward()
        found.append(z.grad)
    assert found[0].abs().sum() > 0
    torch.testing.assert_close(*found, rtol=0, atol=0)


def asked_directly(layer, z):
    """What a layer says without its adapter."""
    layer.update_statistics(z)
    found = [layer.score(z)]
    if isinstance(layer, km.layers.SelectingLayer):
        found.append(layer.selected(z))
        if layer.adds_to_loss:
            found.append(layer.penalize(z))
    return found


def test_it_follows_train_and_eval():
    model = run(module())
    adapter = model[2]
    hidden = model[1](model[0](data()))
    assert not torch.equal(adapter(hidden), hidden)
    step = int(adapter.layer.step)
    model.eval()
    assert torch.equal(adapter(hidden), hidden)
    assert int(adapter.layer.step) == step == 5
    model.train()
    assert not torch.equal(adapter(hidden), hidden)


def test_the_gradient_is_reversed_where_selected():
    adapter = run(module())[2]
    z = torch.randn(12, 16, requires_grad=True)
    selected = adapter.layer.selected(z.detach())
    adapter(z).sum().backward()
    assert selected.sum() == 12
    assert torch.equal(z.grad, torch.where(selected, -1.0, 1.0))


@pytest.mark.parametrize("kind", MAKERS)
def test_statistics_are_in_the_state_dict_and_load(kind):
    model, other = run(module(kind)), module(kind)
    names = [n for n in model.state_dict() if n.startswith("2.")]
    settings = {"strength", "weight", "enabled"}
    saved = [v.name for v in model[2].layer.saved_variables()]
    expected = [name for name in saved if name not in settings]
    assert names == [f"2.{name}" for name in expected]
    assert {"2.mean", "2.variance", "2.step"} <= set(names)
    other.load_state_dict(model.state_dict())
    for a, b in zip(
        model[2].layer.saved_variables(), other[2].layer.saved_variables(), strict=True
    ):
        assert torch.equal(a.value, b.value)
    x = data(9)
    assert torch.equal(model(x), other(x))
    assert not [n for n, _ in model.named_parameters() if n.startswith("2.")]


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_has_statistics_of_its_own(how):
    model = run(module())
    if how == "deepcopy":
        other = copy.deepcopy(model)
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    before = model[2].mean.clone()
    run(other, 2)
    assert torch.equal(model[2].mean, before)
    assert int(model[2].layer.step) == 4
    assert int(other[2].layer.step) == int(other[2].step) == 6
    assert torch.equal(other[2].mean, other[2].layer.mean.value)


def test_moving_keeps_statistics_float32_and_connected():
    model = run(module())
    for move in (lambda m: m.double(), lambda m: m.half(), lambda m: m.to("cpu")):
        move(model)
        for tensor in (model[2].mean, model[2].layer.mean.value):
            assert tensor.dtype == torch.float32
    model.float()
    run(model, 1)
    assert int(model[2].step) == 5
    assert torch.equal(model[2].mean, model[2].layer.mean.value)
    assert model.double()(data().double()).dtype == torch.float64


@pytest.mark.parametrize("name", ["enabled", "select", "strength", "weight"])
def test_settings_are_the_layers(name):
    adapter = module()[2]
    with pytest.raises(AttributeError, match=rf"adapter\.layer\.{name}"):
        setattr(adapter, name, 1)
    assert not hasattr(adapter, name)


def test_autocast():
    model = run(module())
    with torch.autocast("cpu", torch.bfloat16):
        y = model(data())
        hidden = model[0](data())
        assert hidden.dtype == model[2](hidden).dtype == torch.bfloat16
    y.float().sum().backward()
    assert torch.isfinite(model[0].weight.grad).all()
    assert model[2].mean.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_EVERY_GRADIENT)
def test_torch_compile_without_a_graph_break(kind):
    """Outputs, gradients and statistics; of two kinds as Inductor writes them."""
    torch._dynamo.reset()
    model, other = (module(kind, WITH_EVERY_GRADIENT) for _ in range(2))
    backend = "inductor" if kind in ("threshold", "relative") else "aot_eager"
    compiled = torch.compile(other, fullgraph=True, backend=backend)
    for seed in range(5):
        found = []
        for call, adapter in ((model, model[2]), (compiled, other[2])):
            x = data(seed).requires_grad_()
            y = call(x)
            (y.square().sum() + adapter.loss).backward()
            found.append((y, x.grad))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    for a, b in zip(
        model[2].layer.saved_variables(), other[2].layer.saved_variables(), strict=True
    ):
        torch.testing.assert_close(a.value, b.value)
    assert int(other[2].step) == 5


@pytest.mark.parametrize("kind", WITH_EVERY_GRADIENT)
def test_several_gradients_at_once(kind):
    model = run(module(kind, WITH_EVERY_GRADIENT))
    x = data(9).requires_grad_()
    y, upstream = model(x), torch.randn(3, 12, 2)
    gradient = partial(torch.autograd.grad, y, x, retain_graph=True)
    (many,) = gradient(upstream, is_grads_batched=True)
    for one, found in zip(upstream, many, strict=True):
        (expected,) = gradient(one)
        torch.testing.assert_close(found, expected)


def test_a_refused_state_changes_nothing():
    model = run(module())
    before = {name: x.clone() for name, x in model.state_dict().items()}
    given = {name: x.clone() for name, x in before.items()}
    given["2.mean"][:] = torch.nan
    with pytest.raises(RuntimeError, match="In '2'"):
        model.load_state_dict(given)
    for name, x in model[2].state_dict().items():
        assert torch.equal(x, before[f"2.{name}"])


def test_counting_in_inference_mode():
    with torch.inference_mode():
        found = chosen("accelerator").count_true(torch.tensor([True, False]))
    assert found == 1.0


def test_the_penalty_is_a_loss_with_gradient():
    model = run(module("penalty"), 4)
    adapter = model[2]
    assert float(adapter.loss.detach()) == pytest.approx(adapter.layer.penalty)
    assert adapter.layer.penalty != 0.0
    adapter.loss.backward()
    assert model[0].weight.grad.abs().sum() > 0
    run(model.eval(), 1)
    assert float(adapter.loss) == 0.0


def test_padding_is_not_counted():
    adapter = Adapter(km.layers.MonosemanticScale(axis=-1), (None, None, 4))
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    adapter(torch.randn(2, 3, 4), mask)
    assert torch.equal(adapter.count.flatten(), torch.full((4,), 3.0))


def test_its_optimizer_leaves_statistics_alone():
    model = module()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.5)
    reference = module()
    model(data()).sum().backward()
    reference(data())
    optimizer.step()
    assert torch.equal(model[2].mean, reference[2].mean)
    assert torch.equal(model[2].variance, reference[2].variance)


def test_errors():
    with pytest.raises(ValueError, match="`layer` must be a layer of this library"):
        Adapter(keras.layers.Dense(2), (None, 4))
    for shape in (8, "abc", (None, "a"), (4, -3)):
        with pytest.raises(ValueError, match=r"`input_shape` must be a sequence of"):
            Adapter(km.layers.MonosemanticScale(), shape)
    with pytest.raises(ValueError, match="Pass `input_shape`"):
        Adapter(km.layers.MonosemanticScale())


def trained_adapter(layer):
    adapter = Adapter(layer, (None, 8))
    for seed in range(4):
        x = torch.tensor(np.random.default_rng(seed).normal(size=(32, 8)))
        adapter(x.float().requires_grad_())
    return adapter


def test_state_that_is_assigned_reaches_the_layer():
    adapter = trained_adapter(km.layers.MonosemanticInhibition(start_step=2))
    other = Adapter(km.layers.MonosemanticInhibition(start_step=2), (None, 8))
    other.load_state_dict(copy.deepcopy(adapter.state_dict()), assign=True)
    assert int(other.step) == int(other.layer.step) == 4
    x = torch.randn(32, 8)
    assert torch.equal(adapter(x), other(x))
    assert int(other.step) == int(other.layer.step) == 5


def test_a_copy_in_the_middle_of_training():
    layer = km.layers.MonosemanticPenalty(start_step=1, select=2, form="phi")
    adapter = trained_adapter(layer)
    assert adapter.loss.requires_grad
    twin = copy.deepcopy(adapter)
    assert float(twin.loss) == float(adapter.loss) != 0
    twin(torch.randn(32, 8))
    assert (int(twin.step), int(adapter.step)) == (5, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", MAKERS)
def test_pytorchs_default_dtype_changes_nothing(kind, dtype):
    def state(default):
        torch.set_default_dtype(default)
        adapter = Adapter(MAKERS[kind](), (None, None, 16))
        random = np.random.default_rng(0)
        for i in range(6):
            x = random.normal(size=(8, 3, 16))
            x[0, 0, 0] = 1e20 if i % 2 else np.nan
            x = torch.tensor(x, dtype=torch.float32)
            adapter(x, torch.tensor(random.random((8, 3)) < 0.7) if i > 2 else None)
        return adapter.state_dict()

    try:
        expected, found = state(torch.float32), state(dtype)
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)
