"""The programs of examples/ and studies/ run as a user runs them, in small."""

import json
import re
from pathlib import Path

import pytest

from support import forked_runs
from support.forked_runs import Run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"quickstart.py", "code_report.py"}
EXAMPLES |= {"gallery.py"}  # in tests/programs
STUDIES = {"penalty_study.py"}
STUDIES |= {"study.py", "results.py"}  # in tests/programs
STUDIES |= {"manipulation_study.py", "manipulation_page.py", "collapse_study.py"}
HELPERS = {"digits_report.py"}  # imported by an example


@pytest.fixture(scope="module")
def run():
    """What a program prints."""
    with forked_runs.Forks("matplotlib.pyplot") as forks:

        def printed(program, folder, *options):
            variables = {"COLUMNS": "160"}  # so that no table cell is cut
            run = Run(ROOT / program, options, folder, variables)
            ((status, text),) = forks.run(run)
            assert status == 0, text
            return text

        yield printed


@pytest.fixture(scope="module")
def quickstart(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("quickstart")
    options = ["--seeds", "2", "--epochs", "3", "--output", output]
    return run("examples/quickstart.py", output, *options), output


@pytest.mark.slow
def test_quickstart_prints_a_row_for_each_network(quickstart):
    printed, _ = quickstart
    for seed in (0, 1):
        for way in ("plain", "inhibition", "penalty"):
            assert f"seed {seed}, {way}: test accuracy" in printed
    cells = [[c.strip() for c in x.split("│")] for x in printed.splitlines()]
    rows = {tuple(c[1:3]): c[3:6] for c in cells if len(c) == 7}
    assert len(rows) == 7, printed
    assert all("±" in cell for row in rows.values() for cell in row)
    found = rows["second", "selectivity (CSI)"]
    plain, _, penalized = (float(cell.partition(" ")[0]) for cell in found)
    assert penalized < plain
    assert "95 % interval" in printed


def test_quickstart_draws_a_picture(quickstart):
    _, output = quickstart
    pictures = list(output.rglob("*.png"))
    assert pictures
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert picture.stat().st_size > 10_000


@pytest.mark.slow
def test_penalty_study(run, tmp_path):
    options = ["--seeds", "2", "--epochs", "2", "--weights", "0.1", "--where", "second"]
    files = ["--json", "found.json", "--picture", "study.png"]
    printed = run("studies/penalty_study.py", tmp_path, *options, *files)
    assert "plain" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["about"]["penalized"] == ["second"]
    runs = [(r["seed"], r["weight"]) for r in found["runs"]]
    assert runs == [(0, 0.0), (0, 0.1), (1, 0.0), (1, 0.1)]
    plain, penalized = found["runs"][:2]
    assert penalized["second, scale, held out"] < plain["second, scale, held out"]
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.slow
def test_code_report(run, tmp_path):
    options = ["--steps=12", "--texts=80", "--out=page.html"]
    printed = run("examples/code_report.py", tmp_path, *options)
    bits = dict(re.findall(r"(plain|L2E): (\d+\.\d+) bits per byte", printed))
    assert set(bits) == {"plain", "L2E"}
    assert all(0 < float(b) < 8 for b in bits.values())
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "L2E, mlp_2: " in page
    assert page.count("<img ") == 3 + 2 * 4 * (1 + 1 + 3)  # map, agreement, neurons


def test_every_program_is_tested():
    found = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert found == EXAMPLES | HELPERS
    assert {path.name for path in (ROOT / "studies").glob("*.py")} == STUDIES
