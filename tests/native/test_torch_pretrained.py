"""Adapters in models that transformers loads from files."""

import keras
import pytest

import keras_mono as km

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)
transformers = pytest.importorskip("transformers")

from keras_mono.torch import Adapter  # noqa: E402


class Config(transformers.PretrainedConfig):
    model_type = "km_small"

    def __init__(self, adapted=True, trained_layer=False, **kwargs):
        super().__init__(**kwargs)
        self.adapted, self.trained_layer = adapted, trained_layer
        self.initializer_range = 0.5


class Model(transformers.PreTrainedModel):
    config_class = Config
    main_input_name = "x"

    def __init__(self, config):
        super().__init__(config)
        self.first = torch.nn.Linear(6, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        if config.adapted:
            layer = km.layers.MonosemanticInhibition(0.05, axis=-1, start_step=2)
            self.inhibition = Adapter(layer, (None, 8))
            self.penalty = Adapter(km.layers.MonosemanticPenalty(0.25), (None, 8))
        self.post_init()

    def forward(self, x):
        x = self.norm(self.first(x))
        return self.penalty(self.inhibition(x)) if self.config.adapted else x


def batch(seed):
    return torch.randn(16, 6, generator=torch.Generator().manual_seed(seed)) ** 3


def trained(model, seeds):
    model.train()
    for seed in seeds:
        model(batch(seed))
    return model


def spoil_memory():
    """So that memory allocated next is not zero by chance."""
    for size in (1, 5, 8):
        held = [torch.full((size,), 12345.0) for _ in range(200)]
        del held


def is_new(adapter):
    return not any(tensor.any() for tensor in adapter.buffers())


def test_it_goes_on_where_the_saved_model_was(tmp_path):
    model = trained(Model(Config()), range(4))
    model.save_pretrained(tmp_path / "one")
    loaded = Model.from_pretrained(tmp_path / "one")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    trained(model, (7, 8))
    trained(loaded, (7, 8))
    assert torch.equal(loaded(batch(9)), model(batch(9)))
    for adapter in (loaded.inhibition, loaded.penalty):
        assert int(adapter.step) == int(adapter.layer.step) == 7
    assert loaded.penalty.layer.weight == 0.25

    loaded.save_pretrained(tmp_path / "two")
    again = Model.from_pretrained(tmp_path / "two")
    assert int(again.inhibition.step) == 7
    assert torch.equal(again.inhibition.mean, loaded.inhibition.layer.mean.value)


def test_a_plain_file_leaves_the_adapters_new(tmp_path):
    plain = trained(Model(Config(adapted=False)), range(3))
    plain.save_pretrained(tmp_path)
    for _ in range(3):
        spoil_memory()
        model = Model.from_pretrained(tmp_path, config=Config())
        assert is_new(model.inhibition)
        assert is_new(model.penalty)
        assert torch.equal(model.norm.running_mean, plain.norm.running_mean)
    assert model.penalty.layer.weight == 0.25
    trained(model, range(3))
    assert int(model.inhibition.step) == int(model.inhibition.layer.step) == 3


def test_a_file_with_some_statistics_only_leaves_the_adapter_new(tmp_path):
    model = trained(Model(Config()), range(3))
    state = model.state_dict()
    del state["inhibition.variance"]
    model.save_pretrained(tmp_path, state_dict=state)
    spoil_memory()
    loaded = Model.from_pretrained(tmp_path)
    assert is_new(loaded.inhibition)
    assert int(loaded.penalty.step) == 3
    trained(loaded, range(3))


def test_a_model_loaded_in_half_precision_keeps_statistics_float32(tmp_path):
    model = trained(Model(Config()), range(4))
    model.save_pretrained(tmp_path)
    loaded = Model.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.first.weight.dtype == torch.bfloat16
    loaded.train()
    assert loaded(batch(7).bfloat16()).dtype == torch.bfloat16
    assert loaded.inhibition.mean.dtype == torch.float32
    assert int(loaded.inhibition.step) == 5


def test_a_trained_layer_keeps_its_statistics_in_a_new_model():
    """Initialization is for memory that was just allocated."""
    layer = km.layers.MonosemanticScale(axis=-1)
    for seed in range(3):
        layer(batch(seed), training=True)

    class Wrapped(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.scale = Adapter(layer)
            self.post_init()

    model = Wrapped(Config())
    assert int(model.scale.step) == 3
    assert model.scale.mean.any()
