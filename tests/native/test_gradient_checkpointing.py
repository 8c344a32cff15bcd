"""A block that PyTorch computes again does in both passes the same, and counts once."""

import gc
from functools import partial

import keras
import numpy as np
import pytest

import keras_mono as km

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from torch.utils.checkpoint import (  # noqa: E402
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
)

from keras_mono.backend.torch import checkpoints  # noqa: E402
from keras_mono.torch import Adapter  # noqa: E402

WIDTH = 16
LAYERS = {
    "top-k": lambda: km.layers.MonosemanticInhibition(2, axis=-1, start_step=2),
    "threshold": lambda: km.layers.MonosemanticInhibition(0.1, axis=-1, start_step=2),
    "joined": lambda: km.layers.MonosemanticInhibition(
        2, axis=-1, start_step=2, include_current_batch=True
    ),
    "scale-invariant": lambda: km.layers.MonosemanticInhibition(
        2, axis=-1, start_step=2, gradient="scale_invariant"
    ),
    "random": lambda: km.layers.MonosemanticInhibition(
        km.selectors.Random(0.1, 0), axis=-1, start_step=2
    ),
    "scale": lambda: km.layers.MonosemanticScale(axis=-1),
    "penalty": lambda: km.layers.MonosemanticPenalty(0.5, start_step=2, form="phi"),
    "relative": lambda: km.layers.MonosemanticPenalty(0.5, start_step=2),
}
REENTRANT = pytest.mark.parametrize("reentrant", [True, False])


class Block(torch.nn.Module):
    """Calls its adapter twice, and saves activations before and behind it."""

    def __init__(self, kind):
        super().__init__()
        self.up = torch.nn.Linear(WIDTH, WIDTH)
        self.inhibition = Adapter(LAYERS[kind](), (None, WIDTH))
        self.down = torch.nn.Linear(WIDTH, WIDTH)
        self.penalties = 0.0

    def forward(self, x):
        h = self.inhibition(torch.sigmoid(self.up(x)))
        first = self.inhibition.loss
        h = self.inhibition(torch.sigmoid(self.down(h)) * 2.0)
        self.penalties = first + self.inhibition.loss
        return x + torch.tanh(self.down(h))


class Network(torch.nn.Module):
    def __init__(self, kind, run):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList([Block(kind), Block(kind)])
        self.run = run

    def forward(self, x):
        return self.run(self.blocks, x)


def plainly(blocks, x):
    for block in blocks:
        x = block(x)
    return x


def checkpointed(reentrant):
    def run(blocks, x):
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=reentrant)
        return x

    return run


def in_one(reentrant):
    return lambda blocks, x: checkpoint(plainly, blocks, x, use_reentrant=reentrant)


def nested(outer, inner):
    def run(blocks, x):
        return checkpoint(checkpointed(inner), blocks, x, use_reentrant=outer)

    return run


def batch(seed, rows=12):
    x = np.random.default_rng(seed).standard_t(3, size=(rows, WIDTH)).astype("float32")
    return torch.from_numpy(x).requires_grad_()  # `use_reentrant` needs it


def trained(network, steps=6, accumulate=1, backwards=1):
    """Gradients of every step; several forward passes wait for their backward pass."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    gradients = []
    for step in range(steps):
        optimizer.zero_grad()
        losses = []
        for part in range(accumulate):
            y = network(batch(step * accumulate + part))
            penalties = sum(block.penalties for block in network.blocks)
            losses.append(y.square().mean() + penalties)
        network(batch(99))  # a forward pass without a backward pass
        for loss in losses[1:] + losses[:1]:
            for again in range(backwards):
                loss.backward(retain_graph=again + 1 < backwards)
        optimizer.step()
        gradients += [p.grad.clone() for p in network.parameters()]
    return gradients


def assert_same(network, expected, **options):
    """All bits: of every gradient and of every statistic."""
    found, wanted = trained(network, **options), trained(expected, **options)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    state = expected.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@REENTRANT
@pytest.mark.parametrize("kind", LAYERS)
def test_one_block_after_the_other(kind, reentrant):
    network = Network(kind, checkpointed(reentrant))
    if (kind, reentrant) == ("penalty", True):
        with pytest.raises(RuntimeError, match="Pass use_reentrant=False"):
            trained(network)
        return
    assert_same(network, Network(kind, plainly))


@pytest.mark.parametrize("kind", ["scale", "top-k", "threshold", "penalty", "relative"])
@pytest.mark.parametrize("kept", ["sum.default", "mul.Tensor", "mm.default"])
def test_a_policy_that_keeps_some_operations(kept, kind):
    """Operations of the layer are none of those that it keeps."""
    name, overload = kept.split(".")
    kept = getattr(getattr(torch.ops.aten, name), overload)

    def policy(_context, operation, *_args, **_options):
        if operation is kept:
            return CheckpointPolicy.MUST_SAVE
        return CheckpointPolicy.PREFER_RECOMPUTE

    def normalized(block, x):  # by operations that a policy might keep
        y = block(x)
        return y * (1.0 / (1.0 + (y * y).sum()))

    def run(blocks, x):
        contexts = partial(create_selective_checkpoint_contexts, policy)
        options = {"use_reentrant": False, "context_fn": contexts}
        for block in blocks:
            x = checkpoint(normalized, block, x, **options)
        return x

    def without(blocks, x):
        for block in blocks:
            x = normalized(block, x)
        return x

    assert_same(Network(kind, run), Network(kind, without))


def test_a_block_that_returns_a_loss_of_none():
    adapter = Adapter(km.layers.MonosemanticPenalty(), (None, WIDTH)).train()
    x = batch(0)
    y, loss = checkpoint(lambda x: (adapter(x), adapter.loss), x, use_reentrant=True)
    (y.square().mean() + loss).backward()
    torch.testing.assert_close(x.grad, 2.0 * x.detach() / x.numel())
    assert int(adapter.step) == 1


@pytest.mark.parametrize("kind", ["top-k", "threshold"])
@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_a_block_within_a_block(kind, outer, inner):
    assert_same(Network(kind, nested(outer, inner)), Network(kind, plainly))


@REENTRANT
def test_several_layers_in_one_block(reentrant):
    assert_same(Network("top-k", in_one(reentrant)), Network("top-k", plainly))


def test_gradients_of_several_batches_add_up():
    for run in (checkpointed(True), checkpointed(False), nested(False, False)):
        network = Network("threshold", run)
        assert_same(network, Network("threshold", plainly), accumulate=3)


def test_a_graph_that_is_kept_for_a_second_backward_pass():
    network = Network("top-k", checkpointed(False))
    assert_same(network, Network("top-k", plainly), backwards=2)


def test_a_sequential_module_in_segments():
    def segments(blocks, x):
        return checkpoint_sequential(list(blocks), 2, x, use_reentrant=False)

    assert_same(Network("penalty", segments), Network("penalty", plainly))


@REENTRANT
def test_a_repetition_that_is_not_told_that_it_trains(reentrant):
    """Keras 3.16 forgets `training=True` in the backward pass."""

    def gradients(run, flags):
        layer = km.layers.MonosemanticInhibition(2, axis=-1, start_step=1)
        found = []
        for seed in range(3):
            told = list(flags)
            x = batch(seed)
            y = run(lambda z, told=told: layer(z, training=told.pop(0)).tanh(), x)
            y.square().sum().backward()
            found.append(x.grad)
        assert int(layer.step) == 3
        return found

    def checked(f, x):
        return checkpoint(f, x, use_reentrant=reentrant)

    forgotten = gradients(checked, [True, None])
    for one, other in zip(forgotten, gradients(plainly_called, [True]), strict=True):
        assert torch.equal(one, other)


def plainly_called(f, x):
    return f(x)


def test_without_stopping_early():
    def run(blocks, x):
        with torch.utils.checkpoint.set_checkpoint_early_stop(False):
            return checkpointed(False)(blocks, x)

    assert_same(Network("penalty", run), Network("penalty", plainly))


@pytest.mark.parametrize("make", [keras.layers.GRUCell, keras.layers.LSTMCell])
def test_a_recurrent_layer(make):
    def gradients(run):
        keras.utils.set_random_seed(0)
        inhibition = km.layers.MonosemanticInhibition(2, start_step=1)
        layer = km.layers.InhibitedRNN(make(6), inhibition)
        found = []
        for seed in range(4):
            x = torch.from_numpy(
                np.random.default_rng(seed).normal(size=(4, 5, 3)).astype("float32")
            ).requires_grad_()
            run(lambda z: layer(z, training=True), x * 1.0).square().sum().backward()
            found.append(x.grad)
        return layer, found

    for reentrant in (True, False):
        layer, found = gradients(
            lambda f, x, mode=reentrant: checkpoint(f, x, use_reentrant=mode)
        )
        plain, expected = gradients(lambda f, x: f(x))
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)
        for one, other in zip(layer.variables, plain.variables, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert int(layer.inhibition.step) == 4


class Compact(Block):
    """Can be compiled as one graph."""

    def forward(self, x):
        h = self.inhibition(torch.sigmoid(self.up(x)))
        return x + torch.tanh(self.down(h))


class Compilable(Network):
    def __init__(self, kind, run):
        super().__init__(kind, run)
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList([Compact(kind), Compact(kind)])


def compiled_around(run):
    network = Compilable("joined", run)
    network.compile(backend="aot_eager")
    return network


def compiled_within(run):
    network = Compilable("joined", run)
    for block in network.blocks:
        block.compile(backend="aot_eager")
    return network


@pytest.mark.parametrize("compiled", [compiled_around, compiled_within])
@REENTRANT
def test_compiled(compiled, reentrant):
    torch._dynamo.reset()
    network = compiled(checkpointed(reentrant))
    plain = Compilable("joined", plainly)
    for one, other in zip(trained(network), trained(plain), strict=True):
        torch.testing.assert_close(one, other)
    for block in network.blocks:
        assert int(block.inhibition.layer.step) == 12


def test_one_graph_cannot_hold_a_checkpoint():
    torch._dynamo.reset()
    network = Compilable("top-k", checkpointed(False))
    network.compile(fullgraph=True, backend="aot_eager")
    reasons = "not_compiled_in_checkpoint|Unsafe side effect|Mutating a variable"
    with pytest.raises(Exception, match=reasons):
        network(batch(0))


@REENTRANT
def test_huggingface(reentrant):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=WIDTH,
        hidden_dropout_prob=0.5,
    )

    def train(checkpointing):
        torch.manual_seed(0)
        model = transformers.BertModel(config).train()
        adapter = Adapter(LAYERS["top-k"](), (None, None, WIDTH))
        for block in model.encoder.layer:  # one adapter, called twice a step
            block.intermediate.intermediate_act_fn = torch.nn.Sequential(
                torch.nn.GELU(), adapter
            )
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        for seed in range(4):
            ids = torch.from_numpy(np.random.default_rng(seed).integers(0, 20, (3, 5)))
            model(ids).last_hidden_state.square().mean().backward()
            optimizer.step()
        return model

    found, expected = train(True).state_dict(), train(False).state_dict()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@REENTRANT
def test_what_is_kept_goes_with_the_graph(reentrant):
    network = Network("top-k", checkpointed(reentrant))
    trained(network)
    gc.collect()
    before = len(checkpoints._calls)  # graphs that other tests left
    for _ in range(3):
        y = network(batch(0))
        assert len(checkpoints._calls) == before + 2
        y.sum().backward()
        del y
    assert len(checkpoints._calls) == before


def test_a_penalty_does_not_hold_the_block_that_was_computed_again():
    network = Network("penalty", checkpointed(False))
    trained(network)
    before = [block.inhibition.loss for block in network.blocks]
    y = network(batch(0))
    losses = [block.inhibition.loss for block in network.blocks]
    (y.sum() + sum(losses)).backward()
    for block, loss, old in zip(network.blocks, losses, before, strict=True):
        assert block.inhibition.loss is loss is not old


class Foreign(torch.autograd.Function):
    """Checkpointing as other libraries write it."""

    @staticmethod
    def forward(ctx, block, x):
        ctx.block = block
        ctx.save_for_backward(x)
        with torch.no_grad():
            return block(x)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(ctx.block(x), x, upstream)
        return None, gradient


@pytest.mark.parametrize("kind", LAYERS)
def test_checkpointing_of_another_library_is_an_error_that_names_the_module(kind):
    network = Network(kind, lambda blocks, x: Foreign.apply(blocks[0], x))
    y = network(batch(0))
    layer = network.blocks[0].inhibition.layer
    with pytest.raises(RuntimeError, match="Module 'inhibition' of a Block"):
        y.sum().backward()
    assert int(layer.step) == 2
