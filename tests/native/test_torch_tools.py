"""`status`, `calibrate`, the analysis and a monitor for PyTorch modules."""

import warnings

import keras
import numpy as np
import pytest

import keras_mono as km

torch = pytest.importorskip("torch")
if keras.config.backend() != "torch":
    pytest.skip("for PyTorch", allow_module_level=True)

from keras_mono.torch import Adapter, Monitor  # noqa: E402

PATHS = ["blocks.0.inhibition", "blocks.1.inhibition", "penalty"]


class Block(torch.nn.Module):
    def __init__(self, select):
        super().__init__()
        self.dense = torch.nn.Linear(8, 8)
        self.drop = torch.nn.Dropout(0.5)
        layer = km.layers.MonosemanticInhibition(select, axis=-1, start_step=2)
        self.inhibition = Adapter(layer, (None, None, 8))

    def forward(self, x, mask):
        x = self.drop(torch.nn.functional.relu(self.dense(x)))
        return self.inhibition(x, mask)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(1), Block(0.1)])
        self.norm = torch.nn.BatchNorm1d(5)
        layer = km.layers.MonosemanticPenalty(select=0.1, start_step=2)
        self.penalty = Adapter(layer, (None, None, 8))

    def forward(self, x, mask=None):
        for block in self.blocks:
            x = block(x, mask)
        return self.penalty(self.norm(x), mask)


def made():
    torch.manual_seed(0)
    return Model()


def data(seed=0, samples=24):
    return np.random.default_rng(seed).normal(size=(samples, 5, 8)) ** 3  # float64


def trained(model, steps=4):
    model.train()
    for seed in range(steps):
        model(torch.tensor(data(seed), dtype=torch.float32))
    return model


def hidden(model, x):
    """What the first adapter is given, and the ones after it, by hand."""
    model.eval()
    with torch.no_grad():
        first = model.blocks[0].dense(torch.tensor(x, dtype=torch.float32)).relu()
        second = model.blocks[1].dense(first).relu()
        return dict(zip(PATHS, (first, second, model.norm(second)), strict=True))


def test_status_lists_the_adapters_by_their_paths():
    table = km.status(trained(made()))
    assert [row["layer"] for row in table] == PATHS
    assert [row["steps"] for row in table] == [4, 4, 4]
    assert [row["on"] for row in table] == [True] * 3
    assert table[2]["kind"] == "MonosemanticPenalty"
    assert table[1]["threshold"] > 0
    assert "3 layers of keras_mono in 'Model'" in str(table)
    assert len(km.status(torch.nn.Linear(2, 2))) == 0


def test_status_shows_state_that_was_put_into_the_buffers():
    model, other = trained(made()), made()
    other.load_state_dict(model.state_dict(), assign=True)
    assert [row["steps"] for row in km.status(other)] == [4, 4, 4]


@pytest.mark.parametrize("kind", ["eager", "compiled", "double"])
def test_calibrate_learns_from_data_and_changes_nothing_else(kind):
    model = trained(made(), 2)
    model.blocks[0].eval()  # a part whose mode is its own
    if kind == "double":
        model.double()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    called = torch.compile(model) if kind == "compiled" else model
    x = data(5, samples=60)
    assert km.calibrate(called, x, batch_size=20) is called

    z = hidden(model.float(), x)
    for path in PATHS:
        adapter = model.get_submodule(path)
        assert int(adapter.step) == int(adapter.layer.step) == 3
        mean = z[path].mean((0, 1)).reshape(-1)
        torch.testing.assert_close(adapter.mean.flatten(), mean, rtol=1e-4, atol=1e-5)
        assert not adapter.layer.listeners
    own = {k for k in before if k.rpartition(".")[0] not in PATHS}
    for name in own:
        assert torch.equal(model.state_dict()[name].double(), before[name].double())
    assert {"norm.running_mean", "blocks.1.dense.weight"} <= own


def test_calibrate_gives_modes_back():
    model = trained(made(), 2)
    model.norm.eval()
    km.calibrate(model, data())
    assert model.training
    assert model.blocks[0].drop.training
    assert not model.norm.training


def test_calibrate_counts_padding_of_inputs_by_name():
    model = made()
    mask = np.arange(5) < np.arange(24)[:, None] % 5 + 1
    km.calibrate(model, {"x": data(), "mask": mask.astype("int64")})
    assert float(model.penalty.count.max()) == mask.sum()
    km.calibrate(model, [data(), mask])
    assert float(model.penalty.count.max()) == mask.sum()


def test_a_calibration_that_fails_costs_no_history():
    model = trained(made())
    before = model.penalty.mean.clone()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        km.calibrate(model, data()[..., :3])
    assert torch.equal(model.penalty.mean, before)
    assert model.training


def test_errors_say_what_a_module_lacks():
    plain = torch.nn.Linear(8, 8)
    with pytest.raises(ValueError, match=r"keras_mono\.torch\.Adapter"):
        km.calibrate(plain, data())
    with pytest.raises(ValueError, match="'Linear' has no layer of keras_mono"):
        Monitor(plain, data())
    with pytest.raises(ValueError, match=r"no \['encoder'\].*blocks\.0\.inhibition"):
        Monitor(made(), data(), layers=["encoder"])
    with pytest.raises(ValueError, match=r"no \['dense'\].*'penalty'"):
        km.analysis.activations(made(), data(), ["dense"])
    with pytest.raises(ValueError, match="Expected a Keras model"):
        km.strip(made())


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_monitor_may_measure_before_training():
    figures = Monitor(made(), data(9)).measure()
    assert figures["penalty_penalty"] == 0


def test_the_monitor_measures_in_a_loop():
    model = made()
    monitor = Monitor(model, data(9))
    step = []
    for _ in range(3):
        trained(model, 2)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        model.norm.eval()
        figures = monitor.measure()
        assert model.training
        assert not model.norm.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name
        step.append(int(model.penalty.step))
        z = hidden(model, data(9))
        for path in PATHS:
            layer = model.get_submodule(path).layer
            phi = layer.score(z[path]).numpy()
            tail = np.sort(phi, axis=None)[-max(round(0.02 * phi.size), 1) :].mean()
            assert figures[f"{path}_ms_tail"] == pytest.approx(tail)
            share = layer.selected(z[path]).numpy().mean()
            word = "penalized" if path == "penalty" else "inhibited"
            assert figures[f"{path}_{word}"] == pytest.approx(share)
    assert step == [2, 4, 6]
    assert figures["penalty_penalty"] == pytest.approx(model.penalty.layer.penalty)
    assert [row["epoch"] for row in monitor.rows] == [0] * 3 + [1] * 3 + [2] * 3
    assert set(monitor.to_frame()["layer"]) == set(PATHS)
    assert monitor.plot().axes


def test_the_monitor_tells_of_a_layer_that_collapses():
    model, dense = made(), "blocks.1.dense.weight"
    monitor = Monitor(model, data(9), layers=["blocks.1.inhibition"])
    scales, deaths, deviations = [], [], []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for factor in (1.0, 0.5, 0.2, 1.0, 1.0):
            model.get_parameter(dense).data *= factor
            if factor == 0.2:
                model.blocks[1].dense.bias.data[:5] = -100.0
            figures = monitor.measure()
            scales.append(figures["blocks.1.inhibition_scale"])
            deaths.append(figures["blocks.1.inhibition_dead"])
            z = hidden(model, data(9))["blocks.1.inhibition"].double().numpy()
            deviations.append(z.std(axis=(0, 1)).mean())
    relative = np.array(deviations) / deviations[0]
    np.testing.assert_allclose(scales, relative, rtol=1e-4)
    assert deaths == [0.0, 0.0, 0.625, 0.625, 0.625]
    (text,) = [str(w.message) for w in caught if "collapsed" in str(w.message)]
    assert "'blocks.1.inhibition' has collapsed since measurement 3: " in text
    assert "in measurement 1 and is" in text
    assert "Lower its `strength` (now 1)" in text


def test_the_monitor_tells_of_nothing_finite_without_a_callback_of_keras():
    model = made()
    monitor = Monitor(model, data(9), layers=["penalty"])
    model.norm.bias.data.fill_(torch.nan)
    with pytest.warns(UserWarning, match="are NaN or infinite") as caught:
        monitor.measure()
    (text,) = [str(w.message) for w in caught if "NaN or infinite" in str(w.message)]
    assert "in measurement 1" in text
    assert "callbacks" not in text


def test_the_monitor_without_data():
    model = made()
    monitor = Monitor(model)
    trained(model)
    figures = monitor.measure()
    assert figures["penalty_penalty"] == pytest.approx(model.penalty.layer.penalty)
    assert "blocks.1.inhibition_tau" in figures
    assert not any("top1" in name for name in figures)


def test_activations_are_what_the_adapters_are_given():
    model = trained(made())
    found = km.analysis.activations(model, data(7), PATHS, batch_size=7)
    assert model.training
    for path, z in hidden(model, data(7)).items():
        np.testing.assert_allclose(found[path], z.numpy(), rtol=1e-5, atol=1e-6)


def test_profile_and_report(tmp_path):
    model = trained(made())
    labels = np.arange(24) % 3
    found = km.analysis.profile(model, data(7), labels, PATHS, verbose=0)
    z = hidden(model, data(7))["penalty"].numpy().reshape(-1, 8)
    expected = km.analysis.feature_scores(z, np.repeat(labels, 5))
    np.testing.assert_allclose(
        found["penalty"].scores.best_phi, expected.best_phi, rtol=1e-4
    )
    models = {"first": model, "second": trained(made(), 6)}
    page = km.analysis.report(
        models, data(7), labels, ["penalty"], tmp_path / "report.html", verbose=0
    )
    assert "penalty" in page.read_text("utf-8")
    alone = km.analysis.report(
        model, data(7), labels, ["penalty"], tmp_path / "one.html", verbose=0
    )
    assert "The neurons of Model" in alone.read_text("utf-8")


def test_a_layer_that_a_module_holds_itself():
    class Holding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = km.layers.MonosemanticScale(axis=-1)

        def forward(self, x):
            return self.scale(x, training=self.training)

    model = Holding()
    model(torch.tensor(data(), dtype=torch.float32))
    assert km.status(model)[0]["layer"] == "scale"
    assert km.status(Adapter(km.layers.MonosemanticScale(), (None, 4)))[0]["steps"] == 0
