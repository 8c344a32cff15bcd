"""The evidence: its data, its statistics, its runner, and the page written from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from support.pages import expect_unchanged

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "studies"
SEEDS = [0]


@pytest.fixture(scope="module", autouse=True)
def studies_importable():
    """As for a script in studies/, whose folder is the first to be searched."""
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


def study(name, out, *options):
    command = [sys.executable, str(STUDIES / "study.py"), name, "--quick"]
    done = subprocess.run(
        [*command, "--out", str(out), *options],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def runs_in(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image", "language", "physics"])
def test_every_study_runs(name, tmp_path):
    from evidence.all_results import settings_of
    from evidence.tuning import SEEDS as SEARCHED

    study(name, tmp_path)
    for setting in settings_of(name, "quick"):
        runs = runs_in(tmp_path / f"{setting.name}-quick.jsonl")
        main = [run for run in runs if run["seed"] not in SEARCHED]
        paths = {tuple(m.partition(":")[0] for m in run["path"]) for run in main}
        assert paths == set(setting.paths())
        assert len(main) == len(SEEDS) * len(setting.paths())
        by_path = {}
        for run in main:
            assert run["backend"] == os.environ["KERAS_BACKEND"]
            assert len(run["data"]) == 12
            assert all(np.isfinite(value) for value in run["figures"].values())
            by_path.setdefault(run["seed"], {})[tuple(run["path"])] = run["figures"]
        for found in by_path.values():
            # Every method must have changed the training, or what it predicts.
            different = {json.dumps(figures) for figures in found.values()}
            assert len(different) == len(found)
        same_data = {(run["seed"], run["data"]) for run in main}
        assert len(same_data) == len(SEEDS)


@pytest.mark.slow
def test_an_interrupted_study_goes_on_and_gives_the_same(tmp_path):
    subset = ("--subset", "nowcasting/plain > memel")
    study("physics", tmp_path, *subset)
    path = tmp_path / "nowcasting-quick.jsonl"
    whole = path.read_text("utf-8")
    lines = whole.splitlines()
    # The last run lost, the one before cut off in the middle of its line.
    path.write_text("\n".join([*lines[:-2], lines[-2][:50]]), "utf-8")
    study("physics", tmp_path, *subset)
    again = path.read_text("utf-8").splitlines()
    assert again[: len(lines) - 2] == lines[:-2]
    for old, new in zip(lines[-2:], again[-2:], strict=True):
        assert json.loads(old)["figures"] == json.loads(new)["figures"]
    complete = path.read_text("utf-8")
    study("physics", tmp_path, *subset)
    assert path.read_text("utf-8") == complete


FIRST_WEIGHTS = """
import hashlib, keras
from evidence.all_results import STUDIES, settings_of
for study in STUDIES:
    for setting in settings_of(study, "quick"):
        for task in setting.tasks:
            keras.utils.set_random_seed(3)
            weights = task.build(None).trainable_variables
            values = [keras.ops.convert_to_numpy(v).tobytes() for v in weights]
            print(setting.name, hashlib.sha256(b"".join(values)).hexdigest())
"""


@pytest.mark.slow
def test_first_weights_depend_on_the_seed_alone(capsys):
    """Not on the process: another one, on another day, starts from the same."""
    other = subprocess.run(
        [sys.executable, "-c", FIRST_WEIGHTS],
        cwd=STUDIES,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    exec(FIRST_WEIGHTS, {})
    assert len(other.splitlines()) == 7
    assert capsys.readouterr().out == other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--subset", "nowcasting/plain > nothing"), "There are: nowcasting/plain"),
        (("--subset", "elsewhere/plain"), "No setting 'elsewhere'"),
        (("--claim", "13"), "--claim must be 1 to 12"),
        (("--claim", "1"), "Claim 1 is part of the study image"),
        (("--seeds", "a-b"), "--seeds must be such as 0-11"),
        (("--seeds", "5-3"), "--seeds must be such as 0-11"),
        (("--setting", "nowcasting", "--claim", "5"), "not allowed with"),
    ],
)
def test_what_is_not_there(tmp_path, options, message, monkeypatch, capsys):
    import study

    given = ["study.py", "physics", "--quick", "--out", str(tmp_path), *options]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        study.main()
    code = ended.value.code
    if options[0] in ("--seeds", "--setting"):
        assert code == 2
        assert message in capsys.readouterr().err
    else:
        # A text as the code: Python prints it and exits with 1.
        assert message in code
    assert not list(tmp_path.iterdir())


def test_at_most_twelve_claims_and_each_can_be_run():
    from evidence.all_results import settings_of, study_of
    from evidence.claims import CLAIMS

    assert len(CLAIMS) <= 12
    for claim in CLAIMS:
        (study_name,) = {study_of(setting) for setting, _ in claim.needs}
        settings = {s.name: s for s in settings_of(study_name)}
        assert all(path in settings[name].paths() for name, path in claim.needs)


@pytest.mark.slow
def test_the_page_and_the_readme_are_what_the_runs_give():
    expect_unchanged(STUDIES / "results.py")


def test_paired_differences():
    from evidence import paired

    values = np.random.default_rng(0).normal(0.4, 1, 15)
    found = paired.compare(values)
    test = stats.ttest_1samp(values, 0)
    interval = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx(values.mean() / values.std(ddof=1))
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(values).pvalue)
    assert paired.one_sided(values) == pytest.approx(test.pvalue / 2)
    tied = np.array([0.5, 0.5, -0.25, 1.0, -1.0, 2.0, 0.0, 3.0, -0.5, 0.25, 4.0, 1.0])
    for few in (tied, tied[:5], tied[tied != 0], np.array([0.0, 2.0, 1.0])):
        assert paired.compare(few).wilcoxon == stats.wilcoxon(few).pvalue
    assert paired.compare(np.array([0.0, 0.0, 2.0])).wilcoxon == 1.0
    assert paired.compare(np.zeros(5)).p == 1.0
    assert paired.compare(np.ones(5)).p == 0.0


def test_new_means_fall_into_the_prediction_interval():
    from evidence import paired

    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(2000):
        low, high = paired.compare(rng.normal(1, 2, 12)).prediction(6)
        inside += low <= rng.normal(1, 2, 6).mean() <= high
    assert 0.935 < inside / 2000 < 0.965


def test_equivalence():
    from evidence import paired

    near = np.random.default_rng(2).normal(0.1, 0.2, 12)
    assert paired.equivalence(near, 0.5) < 0.01
    assert paired.equivalence(near + 1, 0.5) > 0.9
    assert paired.equivalence(near - 1, 0.5) > 0.9


def test_holm():
    from evidence import paired

    # Worked by hand: 4 · 0.005, 3 · 0.01, 2 · 0.03, then not below the one before.
    corrected = paired.holm([0.01, 0.04, 0.03, 0.005])
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]


def claim_results(shift):
    """Two settings' worth of made-up runs of the claim on the images."""
    from evidence.all_results import settings_of
    from evidence.claims import Results

    class NothingChosen:
        def resolved(self, path):
            return path

    rng = np.random.default_rng(3)
    runs = []
    for seed in range(12):
        base = rng.normal(90, 1)
        for path, add in ((("plain", "plain"), 0), (("plain", "memel"), shift)):
            accuracy = base + add + rng.normal(0, 0.1)
            runs.append(
                {"path": path, "seed": seed, "figures": {"test accuracy": accuracy}}
            )
    runs += [
        {"path": ("plain", method), "seed": 1000, "figures": {"test accuracy": value}}
        for method, value in {"plain": 0.0, "memel": 100.0}.items()
    ]
    setting = settings_of("image")[0]
    return Results({"vit-digits": (setting, NothingChosen(), runs)})


@pytest.mark.parametrize(
    ("shift", "word"),
    [(1.0, "supported"), (-1.0, "contradicted"), (0.0, "no effect shown")],
)
def test_verdicts(shift, word, monkeypatch):
    from evidence import claims

    monkeypatch.setattr(claims, "CLAIMS", (claims.CLAIMS[2],))
    (verdict,) = claims.judge(claim_results(shift))
    (found,) = verdict.differences.values()
    assert found.number == 12  # the seeds of the search do not count
    assert found.mean == pytest.approx(shift, abs=0.15)
    assert verdict.word == word


def test_a_row_does_not_count_the_seeds_of_the_search():
    from evidence import rows

    setting, choices, runs = claim_results(1.0).found["vit-digits"]
    found = rows.Row(setting, choices, ("plain", "memel")).differences(runs)
    assert len(found) == 12
    assert found.mean() == pytest.approx(1.0, abs=0.15)


# Worlds in which the papers are right: by setting and path, figures. Where a figure is
# not given it is 0.
AS_PREDICTED = [
    {("vit-digits", "plain > plain"): {"decrease_ratio RD": 1}},
    {("vit-digits", "plain > plain"): {"decrease_ratio naive (b)": -1}},
    {("vit-digits", "plain > memel"): {"test accuracy": 1}},
    {("encoder-medium", "plain > memel"): {"test accuracy": 1}},
    {("nowcasting", "plain > memel"): {"test B-MAE": -1}},
    {("nowcasting", "memel > plain"): {"test B-MAE": -1}},
    {},
    {("causal-small", "plain"): {"best phi": 1, "K-S": 1}},
    {("causal-medium", "plain"): {"FKR at 0.002": 1, "FKR at 0.2": 1}},
    {("causal-medium", "memel"): {"test loss after epoch 1": 1}},
    {("encoder-medium", "plain > memel"): {"test accuracy": 1}},
    {("causal-medium", "encourage"): {"test bits per byte": -1}},
]


class World:
    """In place of `Results`."""

    def __init__(self, figures, sign):
        self.figures, self.sign = figures, sign

    def figure(self, setting, path, name):
        given = self.figures.get((setting, " > ".join(path)), {})
        return dict.fromkeys(range(12), self.sign * given.get(name, 0.0))


@pytest.mark.parametrize("number", range(1, 13))
def test_every_claim_is_about_what_it_says_with_the_papers_sign(number):
    from evidence.claims import CLAIMS

    claim, figures = CLAIMS[number - 1], AS_PREDICTED[number - 1]
    for found in claim.values(World(figures, 1.0)).values():
        assert (found == 0).all() if claim.margin else (found > 0).all()
    for found in claim.values(World(figures, -1.0)).values():
        assert (found == 0).all() if claim.margin else (found < 0).all()
    assert {path for _, path in claim.needs} >= {
        tuple(path.split(" > ")) for _, path in figures
    }


def test_a_store_refuses_runs_of_another_kind(tmp_path):
    from evidence.store import Store, about

    store = Store(tmp_path, "some")
    run = {**about(), "path": ["plain"], "seed": 0, "data": "a"}
    store.add(run)
    store.add({**run, "path": ["memel"]})
    store.add({**run, "seed": 1, "data": "b"})
    with pytest.raises(SystemExit, match="other data: a"):
        store.add({**run, "path": ["l2e"], "data": "b"})
    with pytest.raises(SystemExit, match="other backend"):
        store.check({**about(), "backend": "another"})
    with pytest.raises(SystemExit, match="other versions"):
        store.check({**about(), "versions": {}})
    assert len(store.runs()) == 3


def test_agreement():
    from evidence import agreement

    values = np.random.default_rng(0).normal(1e-4, 1e-4, 12)

    def shown(now, before):
        return agreement.shown("A claim", "%", {"x": now}, {"x": before})

    assert shown(values, values)
    assert shown(values + 1e-7, values)
    assert not shown(values + 1e-3, values)
    assert not shown(np.zeros(0), values)
    assert not shown(np.zeros(12) - 1e-3, values)
    assert shown(values, ())  # nothing is stored


def test_rain_solves_its_equation():
    """Against finite differences of a single cell far from the edges."""
    from physics import data

    time, place = 8.0 + np.array([-0.01, 0.0, 0.01]), np.arange(0, 60, 0.25)
    rates = data.cell(
        time, place, 60, (25.0, 20.0), (0.4, 0.7), 9.0, 20.0, 10.0, 12.0
    ).astype("float64")
    at = 1
    change = (rates[at + 1] - rates[at - 1]) / 0.02
    down, across = np.gradient(rates[at], 0.25)
    spread = sum(
        np.gradient(np.gradient(rates[at], 0.25, axis=i), 0.25, axis=i) for i in (0, 1)
    )
    growth = -(time[at] - 10.0) / 12.0**2
    expected = -0.4 * down - 0.7 * across + data.DIFFUSION * spread + growth * rates[at]
    inner = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(change[inner], expected[inner], atol=0.02)
    assert np.abs(change).max() > 1


def test_scores_of_rain():
    from physics import data
    from physics.settings import balanced_errors

    rates = np.array([1.9, 2.1, 5.1, 10.1, 30.1])
    pixels = data.pixels(rates)
    np.testing.assert_allclose(data.rates(pixels), rates, rtol=1e-4)
    assert data.balance(pixels).tolist() == [1, 2, 5, 10, 30]
    target = np.zeros((1, 2, 1, 5, 1), "float32")
    target[0, :, 0, :, 0] = pixels
    y = np.concatenate([target, data.balance(target)], axis=-1)
    found = balanced_errors(target + np.float32(0.1), y)
    assert found["B-MAE"] == pytest.approx(0.1 * 48, rel=1e-4)
    assert found["B-MSE"] == pytest.approx(0.01 * 48, rel=1e-4)


def test_parts_share_nothing():
    from image import data as image
    from language import data as language

    for split in (image.digits(0), language.phrases(0)):
        rows = [{row.tobytes() for row in part.x} for part in split]
        assert not rows[0] & rows[1]
        assert not rows[0] & rows[2]
        assert not rows[1] & rows[2]
    first, second = language.phrases(0), language.phrases(1)
    np.testing.assert_array_equal(first.test.x, second.test.x)
    assert (first.train.x != second.train.x).any()


def test_hidden_bytes_and_shifted_code():
    from language import data

    train = data.masked_phrases(0).train
    hidden = train.y != data.IGNORED
    assert (train.x[hidden] == data.HIDDEN).all()
    assert (train.y[hidden] > 0).all()
    assert 0.13 < hidden.sum() / (train.x > 0).sum() < 0.17
    code = data.code(0, length=48, train=64).train
    np.testing.assert_array_equal(code.x[:, 1:], code.y[:, :-1])
    x, labels = data.labelled_code(48, each=20)
    assert np.unique(labels, return_counts=True)[1].tolist() == [20] * 5
    assert x.shape == (100, 48)


def test_placed_patches():
    from image import data

    split = data.placed_patches(0, train=64, test=32)
    assert split.train.x.shape == (64, 8, 8, 1)
    assert set(split.train.y) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_array_equal(
        split.test.x, data.placed_patches(5, train=64, test=32).test.x
    )
    # Every patch stands in the photograph and the third that its label names, and in
    # the columns of its part.
    for part, (low, high) in zip(split, ((0, 0.6), (0.6, 0.8), (0.8, 1)), strict=True):
        for patch, label in zip(part.x[:4, ..., 0], part.y[:4], strict=True):
            photograph = data._photographs()[label // 3]
            windows = np.lib.stride_tricks.sliding_window_view(photograph, (8, 8))
            places = np.argwhere((windows == patch).all(axis=(2, 3)))
            height, width = photograph.shape
            assert any(
                (top + 4) * 3 // height == label % 3
                and int(low * width) <= left <= int(high * width) - 8
                for top, left in places
            )
