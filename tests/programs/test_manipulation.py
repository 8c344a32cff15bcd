"""The manipulation study: its runs, its measures, its verdicts and its page."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from support.pages import expect_unchanged

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "studies"


@pytest.fixture(scope="module", autouse=True)
def studies_importable():
    """As for a script in studies/, whose folder is the first to be searched."""
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


@pytest.fixture
def study(run_program):
    def run(out, *options):
        program = STUDIES / "manipulation_study.py"
        run_program(program, "--quick", "--out", out, *options)

    return run


@pytest.mark.slow
def test_the_study_runs_once_and_every_method_differs(study, tmp_path):
    from manipulation import choice, outcomes
    from manipulation.methods import methods

    study(tmp_path, "--network", "mlp-digits")
    path = tmp_path / "mlp-digits-quick.jsonl"
    runs = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    default = choice.default((outcomes.STORED,), quick=True)
    assert [run["path"] for run in runs] == [[m] for m in methods(default)]
    for run in runs:
        figures = run["figures"]
        assert all(np.isfinite(value) for value in figures.values())
        for part in ("validation", "test"):
            assert {f"{part} tail", f"{part} selectivity", f"{part} tail below"} < {
                *figures
            }
    different = {json.dumps(run["figures"]) for run in runs}
    assert len(different) == len(runs)
    assert len({run["data"] for run in runs}) == 1
    study(tmp_path, "--network", "mlp-digits")
    assert len(path.read_text("utf-8").splitlines()) == len(runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "cnn-normalized",
        pytest.param("gru-phrases", marks=pytest.mark.soak),
        pytest.param("causal-medium", marks=pytest.mark.soak),
    ],
)
def test_other_kinds_of_networks_run(name, study, tmp_path):
    study(tmp_path, "--network", name, "--method", "rd:strength=1", "phi:weight=0.03")
    lines = (tmp_path / f"{name}-quick.jsonl").read_text("utf-8").splitlines()
    plain, *others = [json.loads(line)["figures"] for line in lines]
    assert len(others) == 2
    for other in others:
        assert other.keys() == plain.keys()
        assert other["test tail"] != plain["test tail"]
        assert other["test constant"] == plain["test constant"]


MLP = ["mlp_1", "mlp_2"]
PLACES = {
    "mlp-digits": ["block_1"],
    "cnn-digits": ["block_1", "block_2"],
    "cnn-normalized": ["block_1", "block_2"],
    "vit-digits": MLP,
    "encoder-small": MLP,
    "gru-phrases": ["block_1"],
    "causal-medium": MLP,
    "nowcasting": ["block_0", "block_1"],
}


@pytest.mark.parametrize("quick", [True, False])
def test_methods_stand_after_the_hidden_units_that_are_meant(quick):
    import keras_mono as km
    from manipulation.networks import networks

    found = networks(quick)
    assert found.keys() == PLACES.keys()
    for name, network in found.items():
        model = network.setting.tasks[-1].build(None)
        places = km.middle(model, network.setting.units, network.setting.middle)
        assert places == PLACES[name]
        names = [layer.name for layer in model.layers]
        assert names.index(network.below) < names.index(places[0])


def test_statistics_of_a_normalization_start_anew():
    """A model that is trained again keeps nothing; what is read has what it learned."""
    from manipulation.measures import Measuring
    from manipulation.methods import Manipulation
    from manipulation.networks import networks

    trainer = Measuring(networks(quick=True)["cnn-normalized"])
    path = trainer.network.path("plain")
    first = trainer.run(path, 0)["figures"]
    x = trainer.split(1, 0).test.x
    model = trainer.variant(1, Manipulation("plain")).model
    of_model = model.predict(x, verbose=0)
    np.testing.assert_allclose(trainer.reader.read(x)[0], of_model, rtol=1e-4)
    assert trainer.run(path, 0)["figures"] == first


def test_tail_leaves_out_what_never_changes():
    from manipulation.measures import dead, tail

    z = np.random.default_rng(0).normal(size=(1000, 4))
    with_dead = np.concatenate([z, np.full((1000, 4), 0.1)], axis=1)
    assert tail(with_dead) == tail(z)
    assert tail(3 * z + 1) == pytest.approx(tail(z))
    phi = (z - z.mean(0)) ** 2 / (z.var(0, ddof=1) + 0.01 * z.var(0, ddof=1).mean())
    assert tail(z) == pytest.approx(np.sort(phi.ravel())[-80:].mean())
    assert dead(with_dead) == 50
    assert np.isnan(tail(np.ones((5, 2))))


def test_rain_has_a_class_at_each_position():
    from evidence.setting import Part
    from manipulation.networks import networks
    from physics import data

    network = networks(quick=True)["nowcasting"]
    rates = np.zeros((1, 2, 4, 4), "float32")
    rates[0, 1, 0, 1], rates[0, 0, 2, 2] = 12.0, 40.0
    ahead = data.pixels(rates)[..., None]
    y = np.concatenate([ahead, data.balance(ahead)], axis=-1)
    part = Part(ahead, y)
    _, labels = network.labelled(part, "test", "block_1")
    assert labels.tolist() == [[[[1, 1], [1, 30]], [[10, 1], [1, 1]]]]
    _, labels = network.labelled(part, "test", "block_0")
    assert labels.tolist() == [[[10, 1], [1, 1]]]


METHODS = ("plain", "phi:weight=0.01", "phi:weight=0.1", "l2e:weight=0.03")
# Changes by method: accuracy, tail, selectivity, scale, dead, tail below.
CHANGES = {
    "plain": (0, 0, 0, 0, 0, 0),
    "phi:weight=0.01": (-0.1, -2, -0.1, 0, 0, 0),
    "phi:weight=0.1": (-90, -5, -0.2, 0, 0, 0),
    "l2e:weight=0.03": (-3, 1, 0.1, -0.5, 20, 1),
}


def made_up(seeds, part="test", changes=CHANGES):
    """Runs of one network, in which each method changes what is given."""
    from manipulation.networks import networks
    from manipulation.outcomes import Outcomes

    names = ("accuracy", "tail", "selectivity", "scale", "dead", "tail below")
    runs = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        base = np.array([95.0, 8.0, 0.4, 1.0, 1.0, 9.0])
        base = base * (1 + 0.05 * rng.normal(size=6))
        for method, change in changes.items():
            noise = 0.01 * rng.normal(size=6)
            values = base + np.array(change) + noise
            figures = {f"{part} {n}": v for n, v in zip(names, values, strict=True)}
            figures |= {f"{part} constant": 10.0, f"{part} loss": 0.1}
            made = {"seconds": 1.0, "backend": "jax", "versions": {"a": "1"}}
            made |= {"machine": "m", "path": [method], "seed": seed}
            runs.append({**made, "figures": figures})
    found = {"mlp-digits": networks(quick=True)["mlp-digits"]}
    return Outcomes(found, {"mlp-digits": runs}, part)


def test_changes_are_paired_by_seed_and_leave_out_other_seeds():
    found = made_up([*range(12), 1000, 1001])
    changes = found.changes("mlp-digits", "phi:weight=0.01", "tail")
    assert len(changes) == 12
    assert changes == pytest.approx(-2, abs=0.1)  # the seeds differ by more
    task = found.in_unit("mlp-digits", "l2e:weight=0.03", "task", "margin")
    assert task.mean() == pytest.approx(-6, abs=0.1)
    assert found.at_chance("mlp-digits", "phi:weight=0.1") == (12, 12)
    assert found.at_chance("mlp-digits", "l2e:weight=0.03") == (0, 12)


def test_what_is_predicted_is_confirmed_and_the_opposite_contradicted():
    from manipulation import verdicts

    words = {
        (t.method, t.prediction.figure): t.word
        for t in verdicts.predictions(made_up(range(12)))
    }
    assert words["phi:weight=0.01", "tail"] == "confirmed"
    assert words["l2e:weight=0.03", "selectivity"] == "confirmed"
    opposite = {**CHANGES, "phi:weight=0.01": (0, 2, 0.0, 0, 0, 0)}
    words = {
        (t.method, t.prediction.figure): t.word
        for t in verdicts.predictions(made_up(range(12), changes=opposite))
    }
    assert words["phi:weight=0.01", "tail"] == "contradicted"
    assert words["phi:weight=0.01", "selectivity"] == "open"


@pytest.mark.parametrize(
    ("change", "unmet"),
    [
        ((-0.1, -2, -0.1, 0, 0, 0), set()),
        ((-0.1, -1, -0.1, 0, 0, 0), {"tail"}),
        ((-0.1, 2, 0.1, 0, 0, 0), {"tail", "selectivity"}),
        ((-1, -2, -0.1, -0.2, 3, 1), {"task", "scale", "dead", "tail below"}),
        ((3, -2, -0.1, 0.2, -3, -1), set()),
    ],
)
def test_criteria(change, unmet):
    from manipulation import verdicts

    changes = {**CHANGES, "phi:weight=0.01": change, "phi:weight=0.1": change}
    judged = verdicts.criteria(made_up(range(12), changes=changes), "phi:weight=0.01")
    assert {j.criterion.figure for j in judged if not j.met} == unmet
    judged = verdicts.criteria(made_up(range(12)), "phi:weight=0.01")
    assert {j.criterion.figure for j in judged if not j.met} == {"chance"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phi:weight=0.003": (0, -2, -0.1)}, "phi:weight=0.003"),
        # Both lower; the smaller harm wins.
        (
            {"phi:weight=0.003": (-0.3, -2, -0.1), "phi:weight=0.01": (-0.1, -4, -0.2)},
            "phi:weight=0.01",
        ),
        # The one that lowers ends at chance.
        (
            {
                "phi:weight=0.01": (-90, -2, -0.1),
                "log_phi:weight=0.01": (-0.2, -0.1, -0.1),
            },
            "phi:weight=0.001",
        ),
        # A lighter tail with more selective neurons does not count.
        (
            {"l2e:weight=0.03": (0, -4, 0.1), "phi:weight=0.001": (0, -2, -0.1)},
            "phi:weight=0.001",
        ),
    ],
)
def test_choice(changes, expected):
    from manipulation import choice
    from manipulation.methods import TRIED

    every = {"plain": (0,) * 6}
    for number, method in enumerate(TRIED):
        # The smallest weight of "phi" costs least where nothing else is said.
        nothing = (0.0 if method == "phi:weight=0.001" else -0.3 - 0.01 * number, 0, 0)
        every[method] = (*changes.get(method, nothing), 0, 0, 0)
    found = made_up(range(1000, 1004), "validation", every)
    assert choice.chosen(choice.candidates(found)) == expected
    harmful = {m: (-3 * (m != "plain"), -2, -0.1, 0, 0, 0) for m in every}
    two = made_up(range(1000, 1004), "validation", harmful)
    two.networks["again"] = two.networks["mlp-digits"]
    two.runs["again"] = two.runs["mlp-digits"]
    assert not any(c.allowed for c in choice.candidates(two))


def test_a_page_and_a_picture_from_runs():
    from manipulation import choice, page, pictures

    found = made_up(range(3))
    candidate = choice.Candidate("phi:weight=0.01", 1, 1, 0, 0, 4, 0.1)
    text = page.page(
        found,
        {
            "rule": choice.RULE,
            "chosen": "phi:weight=0.01",
            "candidates": [vars(candidate)],
        },
    )
    rows = page.networks_page(found)
    assert "`mlp-digits/phi:weight=0.01`" in rows
    assert "3 of 3" in rows  # at chance, with ten times the weight
    lines = [x for x in (text + rows).splitlines() if x.startswith("|")]
    assert all(line.endswith("|") for line in lines)
    figure = pictures.dose_and_response(found)
    assert len(figure.axes) == 2
    points = [c for c in figure.axes[0].containers if c.has_yerr]
    assert len(points) == len(METHODS) - 1


@pytest.mark.slow
def test_the_page_and_the_guide_are_what_the_runs_give(run_program):
    expect_unchanged(run_program, STUDIES / "manipulation_page.py")


def test_the_table_of_collapses_is_what_the_runs_give():
    from collapse import table
    from manipulation.networks import networks

    text = table.text(networks())
    assert "| `cnn-digits`, plain | 12 |" in text
    assert f"{table.BEGIN}\n{text}\n{table.END}" in table.PAGE.read_text("utf-8")


def test_a_training_that_is_watched_is_the_one_of_the_study():
    from collapse_study import Watching
    from manipulation.measures import Measuring
    from manipulation.networks import networks

    network = networks(quick=True)["mlp-digits"]
    trainer, path = Watching(network), network.path("plain")
    figures = trainer.run(path, 0)["figures"]
    same = Measuring(network).run(path, 0)["figures"]
    assert figures["test accuracy"] == pytest.approx(same["test accuracy"])
    (scale,), (dead,) = trainer.watched["scale"], trainer.watched["dead"]
    assert len(scale) == len(dead) == len(trainer.watched["train loss"]) >= 10
    assert scale[0] == 1.0
    assert trainer.watched["told"] is None
