"""The programs of examples/ and studies/ run as a user runs them, in small."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"quickstart.py", "code_report.py"}
EXAMPLES |= {"gallery.py"}  # in tests/programs
STUDIES = {"penalty_study.py"}
STUDIES |= {"study.py", "results.py"}  # in tests/programs
STUDIES |= {"manipulation_study.py", "manipulation_page.py", "collapse_study.py"}
HELPERS = {"digits_report.py"}  # imported by an example


@pytest.fixture(scope="module")
def quickstart(run_program, tmp_path_factory):
    output = tmp_path_factory.mktemp("quickstart")
    options = ["--seeds", "2", "--epochs", "3", "--output", output]
    program = ROOT / "examples" / "quickstart.py"
    return run_program(program, *options, folder=output), output


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
def test_penalty_study(run_program, tmp_path):
    options = ["--seeds", "2", "--epochs", "2", "--weights", "0.1", "--where", "second"]
    files = ["--json", "found.json", "--picture", "study.png"]
    program = ROOT / "studies" / "penalty_study.py"
    printed = run_program(program, *options, *files, folder=tmp_path)
    assert "plain" in printed
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["about"]["penalized"] == ["second"]
    runs = [(r["seed"], r["weight"]) for r in found["runs"]]
    assert runs == [(0, 0.0), (0, 0.1), (1, 0.0), (1, 0.1)]
    plain, penalized = found["runs"][:2]
    assert penalized["second, scale, held out"] < plain["second, scale, held out"]
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.slow
def test_code_report(run_program, tmp_path):
    options = ["--steps=12", "--texts=80", "--out=page.html"]
    program = ROOT / "examples" / "code_report.py"
    printed = run_program(program, *options, folder=tmp_path)
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
