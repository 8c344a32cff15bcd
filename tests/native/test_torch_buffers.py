"""An adapter's buffers are its state, whoever put them there."""

import copy
import io

import keras
import numpy as np
import pytest

from support.torch_layers import MAKERS

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from keras_mono.torch import Adapter  # noqa: E402

SETTINGS = {"strength", "weight", "enabled"}


def data(seed=0, mean=0.0):
    x = np.random.default_rng(seed).standard_t(3, size=(12, 8)) + mean
    return torch.from_numpy(x.astype("float32"))


def adapter(kind="top-k", steps=0, **arguments):
    made = Adapter(MAKERS[kind](), (None, 8))
    for seed in range(steps):
        made(data(seed, **arguments))
    return made


def state(module):
    return {name: x.detach().clone() for name, x in module.state_dict().items()}


def assert_same(module, expected):
    """Buffers, `state_dict` and layer hold it."""
    saved = module.state_dict()
    assert set(saved) == set(expected)
    variables = {v.name: v.value for v in module.layer.variables}
    for name, value in expected.items():
        assert torch.equal(saved[name], value), name
        assert torch.equal(getattr(module, name), value), name
        assert torch.equal(variables[name], value), name


def put_into_buffers(module, given):
    for name, value in given.items():
        module._buffers[name] = value.clone()


def set_attributes(module, given):
    for name, value in given.items():
        setattr(module, name, value.clone())


def set_parameters(module, given):
    for name, value in given.items():
        delattr(module, name)
        module.register_parameter(name, torch.nn.Parameter(value.clone(), False))


def register_anew(module, given):
    for name, value in given.items():
        module.register_buffer(name, value.clone())


def load(module, given):
    module.load_state_dict(given)


def load_assigned(module, given):
    module.load_state_dict(given, assign=True)


def through_meta(module, given):
    module.to("meta")
    module.to_empty(device="cpu")
    module.load_state_dict(given)


def from_meta_assigned(module, given):
    module.to("meta")
    module.load_state_dict(given, assign=True)


def change_data(module, given):
    for name, value in given.items():
        getattr(module, name).data = value.clone()


WAYS = [
    put_into_buffers,
    set_attributes,
    set_parameters,
    register_anew,
    load,
    load_assigned,
    through_meta,
    from_meta_assigned,
    change_data,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_buffer_that_is_replaced_is_the_layers_state(way, kind):
    source, module = adapter(kind, steps=4), adapter(kind, steps=1)
    way(module, state(source))
    assert_same(module, state(source))
    for seed in (7, 8):
        assert torch.equal(module(data(seed)), source(data(seed)))
        assert torch.equal(module.loss, source.loss)
    assert int(module.step) == 6
    assert_same(module, state(source))
    assert not list(module.parameters())


@pytest.mark.parametrize("way", [put_into_buffers, load_assigned])
def test_the_layer_reads_it_before_the_next_batch(way):
    source, module = adapter(steps=4), adapter()
    way(module, state(source))
    z = data(9)
    assert torch.equal(module.layer.score(z), source.layer.score(z))
    assert torch.equal(module.layer.selected(z), source.layer.selected(z))
    module.layer.reset()
    assert int(module.step) == 0
    assert not module.mean.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_buffer_of_another_dtype_is_cast(dtype):
    source, module = adapter("threshold", steps=4), adapter("threshold")
    for name, value in state(source).items():
        module._buffers[name] = value.to(dtype)  # the step, too
    module(data(7))
    assert int(module.step) == 5
    for name, value in module.state_dict().items():
        assert value.dtype == source.state_dict()[name].dtype, name
    torch.testing.assert_close(module.mean, adapter(steps=5).mean, rtol=1.0, atol=1.0)


def test_half_precision_takes_no_digits_from_statistics():
    module = adapter(steps=5, mean=7e4)  # beyond float16
    before = state(module)
    for move in (lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.double()):
        move(module)
        assert_same(module, before)


def test_a_file_in_half_precision_is_read_as_float32():
    source, module = adapter(steps=4), adapter()
    half = {
        k: v.half() if v.is_floating_point() else v for k, v in state(source).items()
    }
    module.load_state_dict(half, assign=True)
    module(data(7))
    assert module.mean.dtype == torch.float32
    assert module.layer.mean.value.dtype == torch.float32


@pytest.mark.parametrize("kind", MAKERS)
def test_functional_call_uses_the_state_it_is_given(kind):
    source, module = adapter(kind, steps=4), adapter(kind, steps=1)
    own, given = state(module), state(source)
    result = torch.func.functional_call(module, given, (data(7),))
    assert torch.equal(result, source(data(7)))
    for name, value in given.items():  # moved on in place, as BatchNorm1d does
        assert torch.equal(value, source.state_dict()[name]), name
    assert_same(module, own)
    assert torch.equal(module(data(2)), adapter(kind, steps=1)(data(2)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["top-k", "threshold"])
def test_functional_call_that_is_compiled(kind):
    source, module = adapter(kind, steps=4), adapter(kind, steps=1)
    own, given = state(module), state(source)

    @torch.compile(fullgraph=True)
    def call(state, x):
        return torch.func.functional_call(module, state, (x,))

    torch.testing.assert_close(call(given, data(7)), source(data(7)))
    assert int(given["step"]) == 5
    assert_same(module, own)


@pytest.mark.parametrize("way", [put_into_buffers, load, load_assigned])
def test_a_compiled_module_sees_what_is_replaced(way):
    source, module = adapter(steps=4), adapter()
    compiled = torch.compile(module, fullgraph=True)
    for seed in range(3):
        compiled(data(seed))
    way(module, state(source))
    for seed in (7, 8):
        torch.testing.assert_close(compiled(data(seed)), source(data(seed)))
    assert int(module.step) == int(module.layer.step) == 6
    assert not compiled.state_dict().keys() & SETTINGS


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_a_module_whose_buffers_were_replaced(how):
    module, source = adapter(), adapter(steps=4)
    put_into_buffers(module, state(source))
    if how == "deepcopy":
        twin = copy.deepcopy(module)
    else:
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    assert_same(twin, state(source))
    assert torch.equal(twin(data(7)), source(data(7)))
    assert (int(module.step), int(twin.step)) == (4, 5)


@pytest.mark.parametrize("kind", MAKERS)
def test_settings_are_not_saved_and_stay_settable(kind):
    module = adapter(kind)
    assert not SETTINGS & {name for name, _ in module.named_buffers()}
    assert not SETTINGS & set(module.state_dict())
    layer = module.layer
    if kind == "scale":
        return
    name = "weight" if hasattr(layer, "weight") else "strength"
    setattr(layer, name, 0.25)
    layer.enabled = False
    with torch.no_grad():  # what generic initialisation does
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(0.5)
    module.reset_parameters()
    assert getattr(module.layer, name) == 0.25
    assert module.layer.enabled is False
    module.load_state_dict(adapter(kind, steps=3).state_dict())
    module.half().to("cpu")
    assert getattr(module.layer, name) == 0.25
    assert torch.equal(module(data(7)), data(7))  # it is off
    twin = copy.deepcopy(module)
    assert getattr(twin.layer, name) == 0.25
    twin.layer.enabled = True
    assert module.layer.enabled is False
    assert twin.layer.selected(1e3 * data(7)).any()


def test_reset_parameters_starts_clean_after_empty_memory():
    module = adapter(steps=4)
    module.to("meta")
    module.to_empty(device="cpu")
    module.reset_parameters()
    assert_same(module, state(adapter()))
    assert torch.equal(module(data(0)), data(0))
    assert int(module.step) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", np.nan), ("variance", -1.0), ("count", np.inf), ("step", -3)],
)
def test_memory_that_no_training_leaves_is_named(name, value):
    module = adapter(steps=3)
    module._buffers[name] = torch.full_like(module._buffers[name], value)
    with pytest.raises(ValueError, match=rf"`{name}`.*reset_parameters"):
        module(data(5))
    module.eval()
    assert torch.equal(module(data(5)), data(5))


def test_fsdp_with_buffers_in_half_precision(tmp_path):
    from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision

    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        inner = adapter("threshold")
        model = torch.nn.Sequential(torch.nn.Linear(8, 8), inner)
        wrapped = FullyShardedDataParallel(
            model,
            mixed_precision=MixedPrecision(buffer_dtype=torch.bfloat16),
            device_id=torch.device("cpu"),
        )
        for seed in range(4):
            wrapped(data(seed)).sum().backward()
        assert int(inner.step) == 4
        assert inner.mean.dtype == torch.float32
        assert inner.layer.mean.value is inner.mean
    finally:
        torch.distributed.destroy_process_group()
