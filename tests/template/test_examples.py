"""The notebooks that a project is shipped with: those of `invoke scaffold`, with work in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagmar.orchestration.definitions import read_definitions
from dagmar.project.settings import load
from dagmar.scaffold.notebooks import ScaffoldRequest, scaffold
from support.shop_project import TEMPLATES, invoke
from support.template_releases import NOTEBOOK_FILE, SHELF, Project, Template, write

WIDER = {NOTEBOOK_FILE: ("marimo.App(", "marimo.App(app_title='x', ")}
SHIPPED = ("clean_flights", "daily_delays", "on_time_rate", "on_time_report", "refresh_flights")


@pytest.fixture(scope="module")
def shipped(released: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A committed project with all defaults. Do not change it."""
    return released.project(tmp_path_factory.mktemp("shipped") / "shipped-flights")


COMPONENT = """\
import dagster as dg


class Nothing(dg.Component):
    def build_defs(self, context):
        return dg.Definitions()
"""


def typed(project: Project, program: str, *arguments: str) -> str:
    """Return what a program of the environment prints in a project that is not installed."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        [scripts / program, *arguments],
        cwd=project.path,
        env={
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": sys.prefix,
            "PYTHONPATH": "src",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(project: Project, name: str) -> dict[str, Any]:
    (notebook,) = project.answers(f".dagmar/notebooks/{name}.yml")["notebooks"]
    return dict(notebook)


def cells(text: str) -> list[str]:
    from marimo._convert.converters import MarimoConvert

    return [cell.code for cell in MarimoConvert.from_py(text).to_ir().cells]


def test_there_is_one_of_each_template(shipped: Project) -> None:
    made = [answers(shipped, name)["template"] for name in SHIPPED]
    assert sorted(made) == sorted(TEMPLATES)


def test_they_are_what_scaffold_makes_but_for_the_cells_somebody_worked_in(
    shipped: Project, tmp_path: Path
) -> None:
    place = shutil.copytree(shipped.path, tmp_path / "scaffolded-flights")
    project = Project(place, shipped.template)
    settings = load(project.path, environ={}, home=tmp_path)
    catalog = read_definitions(project.path)
    for name in SHIPPED:
        before, text = answers(project, name), project.read(f"notebooks/{name}.py")
        about = {"jobs": [before["job"]]} if "job" in before else {"assets": [before["asset"]]}
        request = ScaffoldRequest(**about, template=before["template"], name=name, force=True)
        (made,) = scaffold(settings, catalog, request).notebooks
        assert (made.file.stem, made.status) == (name, "overwritten")
        after, fresh = answers(project, name), cells(project.read(f"notebooks/{name}.py"))
        replaced = before.pop("instead", {})
        del before["marimo"], after["marimo"]
        assert before == after
        gone = [cell for cell in fresh if cell not in cells(text)]
        assert len(gone) == len(replaced), f"{name} has no separate cell for {replaced}"
        kept = [cell for cell in cells(text) if cell in fresh]
        assert kept == [cell for cell in fresh if cell not in gone]
        # Its name is the one that is made of the key, so a second call finds it.
        again = ScaffoldRequest(**about, template=before["template"])
        assert [one.status for one in scaffold(settings, catalog, again).notebooks] == ["kept"]


def test_each_of_their_assets_can_be_previewed(shipped: Project) -> None:
    # An asset with a result that is not annotated with the type of its value may write by itself.
    assets = shipped.read("src/shipped_flights/defs/flights/assets.py")
    assert assets.count(" -> dg.MaterializeResult[pl.DataFrame]:\n") == 6
    assert " -> dg.MaterializeResult:" not in assets


def test_marimo_and_check_find_nothing_to_say(shipped: Project) -> None:
    command = [sys.executable, "-m", "marimo", "check", "--strict", "notebooks"]
    done = subprocess.run(command, cwd=shipped.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    closed = {"DAGMAR_TARGETS__LOCAL__URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "check", "--json"],
        cwd=shipped.path, env={**os.environ, **closed}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["notebooks"]
    assert [one["path"] for one in found] == [f"notebooks/{name}.py" for name in SHIPPED]
    assert [one["findings"] for one in found] == [[]] * len(SHIPPED)


def test_the_projects_own_tests_pass_and_execute_them(shipped: Project) -> None:
    said = typed(shipped, "pytest", "-q", "-p", "no:cacheprovider")
    assert "21 passed" in said
    assert "skipped" not in said
    assert not (shipped.path / "storage").exists()
    assert shipped.status() == []


def test_the_projects_own_linter_finds_nothing_to_say(shipped: Project) -> None:
    for command in (["check"], ["format", "--check"]):
        typed(shipped, "ruff", *command, "--no-cache")


def test_dg_finds_nothing_to_say_and_everything_there_is(shipped: Project) -> None:
    typed(shipped, "dg", "check", "toml")
    assert "component YAML validated" in typed(shipped, "dg", "check", "defs")
    found = json.loads(typed(shipped, "dg", "list", "defs", "--json"))
    assert {"raw/flights", "on_time_report"} <= {asset["asset_key"] for asset in found["assets"]}
    assert [schedule["name"] for schedule in found["schedules"]] == ["every_morning"]
    assert shipped.status() == []


@pytest.mark.nightly
def test_a_project_without_the_example_is_whole_too(released: Template, tmp_path: Path) -> None:
    bare = released.project(tmp_path / "bare-flights", example=False)
    assert "4 passed" in typed(bare, "pytest", "-q", "-p", "no:cacheprovider")
    typed(bare, "ruff", "check", "--no-cache")
    typed(bare, "dg", "check", "defs")
    assert bare.status() == []
    write(bare.path, {"src/bare_flights/components/nothing.py": COMPONENT})
    write(bare.path, {"src/bare_flights/components/__init__.py": ""})
    listed = json.loads(typed(bare, "dg", "list", "components", "--json"))["items"]
    assert "bare_flights.components.nothing.Nothing" in {item["key"] for item in listed}


@pytest.mark.nightly
def test_they_are_updated_with_the_project_and_a_deleted_one_stays_deleted(
    template: Template, tmp_path: Path
) -> None:
    project = template.project(tmp_path / "my-project")
    project.replace("notebooks/on_time_rate.py", "less than 15 minutes late", "on time")
    (project.path / "notebooks/daily_delays.py").unlink()
    project.commit()
    template.release(
        "v1.1.0",
        {**WIDER, f"{SHELF}/cells/flights/punctuality.j2": ("mark_bar()", "mark_point()")},
    )
    done = invoke(project, "update", "--json")
    assert done.returncode == 0, done.stderr
    left = [name for name in SHIPPED if name != "daily_delays"]
    assert json.loads(done.stdout)["notebooks"] == left
    for name in left:
        assert "app_title='x'" in project.read(f"notebooks/{name}.py")
        assert project.answers(f".dagmar/notebooks/{name}.yml")["_commit"] == "v1.1.0"
    text = project.read("notebooks/on_time_rate.py")
    assert "arrived on time:" in text.replace('"\n        f"', "")
    assert "mark_point()" in text
    assert not (project.path / "notebooks/daily_delays.py").exists()


@pytest.mark.nightly
def test_copier_alone_updates_them_too(template: Template, tmp_path: Path) -> None:
    project = template.project(tmp_path / "my-project")
    (project.path / "notebooks/daily_delays.py").unlink()
    project.commit()
    template.release("v1.1.0", WIDER)
    project.update()
    assert "app_title='x'" in project.read("notebooks/clean_flights.py")
    assert project.answers(".dagmar/notebooks/clean_flights.yml")["_commit"] == "v1.1.0"
    assert not (project.path / "notebooks/daily_delays.py").exists()


def test_an_adopted_repository_gets_none(template: Template, tmp_path: Path) -> None:
    path = tmp_path / "legacy"
    path.mkdir()
    (path / "pyproject.toml").write_text("# theirs\n")
    template.copy(path, data={"example": True})
    assert not (path / "notebooks").exists()
    assert not (path / ".dagmar/notebooks").exists()
