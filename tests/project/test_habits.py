"""What the hooks and workflows of a checkout run is what the project says elsewhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def text_of(name):
    return (ROOT / name).read_text("utf-8")


def section(name):
    """A section of tox.ini, without comments."""
    lines = text_of("tox.ini").split(f"[{name}]\n")[1].split("\n[")[0].split("\n")
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def test_pre_commit_holds_what_make_lint_runs():
    lint = section("testenv:lint")
    hooks = text_of(".pre-commit-config.yaml")
    pins = set(re.findall(r"[a-z-]+==[\d.]+", lint))
    assert set(re.findall(r"[a-z-]+==[\d.]+", hooks)) == pins
    for command in lint.split("commands =\n")[1].split("\n"):
        name = command.replace(" .", "").replace(" --check", "").strip()
        assert name in hooks


def test_the_workflow_runs_every_python_and_the_oldest_keras():
    workflow = text_of(".github/workflows/tests.yml")
    versions = [
        found[1]
        for line in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    for listed in re.findall(r"python: \[(.+)\]", workflow):
        assert re.findall(r"3\.\d+", listed) == versions
    (oldest,) = re.findall(r'keras: \["([\d.]+)"\]', workflow)
    assert f"keras>={oldest.removesuffix('.0')}" in PROJECT["dependencies"]


@pytest.mark.parametrize("name", ["tests", "nightly-keras"])
def test_workflows_run_the_three_backends(name):
    workflow = text_of(f".github/workflows/{name}.yml")
    listed = re.findall(r"backend: \[(.+)\]", workflow)
    assert listed
    assert set(listed) == {"torch, jax, tensorflow"}
    for ignored in re.findall(r"--ignore=(\S+)", workflow):
        assert (ROOT / ignored).exists()
