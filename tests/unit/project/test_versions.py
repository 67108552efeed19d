"""Which versions are tested: the workflow, the packages and the documentation say the same."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagmar.project.versions import DAGSTER, MARIMO, OLDEST_MARIMO, PYTHON, as_requirement, minor
from packaging.specifiers import SpecifierSet
from support.source import SOURCE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[3]
RUNNER = SOURCE.parents[1]
LAST = 4, 2
"""The number of minor versions of Dagster, and of marimo."""


def jobs() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    return dict(workflow["jobs"])


def test_the_workflow_runs_every_tested_version_and_no_other() -> None:
    assert tuple(jobs()["nightly"]["strategy"]["matrix"]["python"]) == PYTHON
    assert jobs()["nightly"]["env"] == {"UV_PYTHON": "${{ matrix.python }}"}
    packages = jobs()["versions"]["strategy"]["matrix"]["packages"]
    dagster = [f"dagster=={each}.* dagster-webserver=={each}.*" for each in DAGSTER]
    assert packages == ["lowest", *dagster, *(f"marimo=={each}.*" for each in MARIMO)]
    assert jobs()["macos"]["runs-on"].startswith("macos")
    for job in ("nightly", "versions", "macos"):
        assert jobs()[job]["if"] == "github.event_name == 'schedule'"


def test_the_tested_versions_are_the_last_ones_without_a_gap() -> None:
    for tested in (PYTHON, DAGSTER, MARIMO):
        numbers = [[int(part) for part in each.split(".")] for each in tested]
        first = numbers[0]
        assert numbers == [[first[0], first[1] + step] for step in range(len(tested))]
    assert (len(DAGSTER), len(MARIMO)) == LAST


@pytest.mark.parametrize(("package", "tested"), [("dagster", DAGSTER), ("marimo", MARIMO)])
def test_the_runner_allows_no_version_older_than_the_tested_ones(
    package: str, tested: tuple[str, ...]
) -> None:
    assert minor(metadata.version(package)) == tested[-1], "a newer one is installed: test it"
    project = tomllib.loads((RUNNER / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = {"dagster": tested[0], "marimo": OLDEST_MARIMO}[package]
    assert minor(oldest) == tested[0]
    assert f"{package}>={oldest}" in project["dependencies"]


def test_the_pythons_are_those_that_packages_and_pages_name() -> None:
    for name in (RUNNER / "pyproject.toml", ROOT / "pyproject.toml"):
        project = tomllib.loads(name.read_text("utf-8"))["project"]
        assert project["requires-python"] == f">={PYTHON[0]}"
    template = (ROOT / "template/project/pyproject.toml.jinja").read_text("utf-8")
    (allowed,) = re.findall(r'^requires-python = "(.+)"$', template, re.MULTILINE)
    assert [each for each in PYTHON if f"{each}.1" not in SpecifierSet(allowed)] == []
    assert allowed == as_requirement("", PYTHON)
    assert f"Python {PYTHON[0]} or newer" in (ROOT / "README.md").read_text("utf-8")
    assert minor(sys.version) in PYTHON
