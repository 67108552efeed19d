"""`copier update`: upstream work arrives, and what users changed or deleted stays that way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from copier.errors import UserMessageError
from support.git import git
from support.template_releases import (
    COPIED,
    NOTEBOOK_FILE,
    ORDERS,
    RUNNER,
    SALES,
    Project,
    Template,
    tree,
    write,
)

README = f"{RUNNER}/README.md"
IGNORE = "template/project/.dagmar/.gitignore"
TASKS = "template/project/tasks.py"
SETTINGS = "template/project/dagmar.yaml"
RENAMED = (NOTEBOOK_FILE, ("width=", "app_title='x', width="))


@pytest.fixture(scope="module")
def updated(small: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with edits, deletions and its own files, after one update. Do not change it."""
    tmp = tmp_path_factory.mktemp("updated")
    template = Template(shutil.copytree(small.path, tmp / "template"))
    project = template.project(tmp / "my-project")
    project.scaffold(ORDERS, SALES)
    write(project.path, {"mine.txt": "mine\n", f"{COPIED}/src/dagmar/mine.py": "# mine\n"})
    project.replace(f"{COPIED}/README.md", "# ", "# Our ")
    for name in ("tasks.py", ".dagmar/.gitignore", "notebooks/sales.py"):
        (project.path / name).unlink()
    project.replace("dagmar.yaml", "target: local", "target: prod")
    project.commit()
    template.release(
        "v1.1.0",
        {
            IGNORE: ("/tmp/", "/tmp/\n/new/"),
            TASKS: ("echo hello", "echo good morning"),
            SETTINGS: ("target: local #", "target: local  #"),
        },
        {
            f"{RUNNER}/src/dagmar/added.py": '"""New upstream."""\n',
            README: (template.path / README).read_text("utf-8") + "\nNew upstream.\n",
        },
    )
    project.update()
    return project


def test_upstream_work_arrives_next_to_the_users_edits(updated: Project):
    text = updated.read(f"{COPIED}/README.md")
    assert text.startswith("# Our ")
    assert text.endswith("\nNew upstream.\n")
    assert updated.read(f"{COPIED}/src/dagmar/added.py") == '"""New upstream."""\n'
    assert updated.answers()["_commit"] == "v1.1.0"
    assert git(updated.path, "diff", "--name-only", "--diff-filter=U") == ""


def test_files_of_the_users_own_survive(updated: Project):
    assert updated.read("mine.txt") == "mine\n"
    assert updated.read(f"{COPIED}/src/dagmar/mine.py") == "# mine\n"
    assert (updated.path / "notebooks/orders.py").is_file()


@pytest.mark.parametrize("name", ["tasks.py", ".dagmar/.gitignore", "notebooks/sales.py"])
def test_a_deleted_file_stays_deleted_though_upstream_changed_it(updated: Project, name: str):
    assert not (updated.path / name).exists()


def test_settings_are_made_once(updated: Project):
    assert "target: prod #" in updated.read("dagmar.yaml")
    assert not [line for line in updated.status() if "dagmar.yaml" in line]


def test_an_update_equals_a_fresh_copy(released: Template, tmp_path: Path):
    template = Template(shutil.copytree(released.path, tmp_path / "template"))
    project = template.project(tmp_path / "my-project")
    template.release(
        "v1.1.0",
        {IGNORE: ("/logs/", "/log/")},
        {"template/project/new.txt.jinja": "{{ package }}\n"},
        removed=README,
    )
    project.update()
    template.copy(tmp_path / "fresh/my-project")
    assert tree(project.path) == tree(tmp_path / "fresh/my-project")
    assert project.read("new.txt") == "my_project\n"


def test_an_update_to_the_same_version_changes_nothing_and_runs_no_hook(
    project: Project, capfd: pytest.CaptureFixture[str]
):
    project.update()
    assert project.status() == []
    assert capfd.readouterr().err == ""


@pytest.mark.nightly  # with the task, in every run: test_update_task.py
def test_a_conflict_is_marked_and_can_be_listed(
    project: Project, capfd: pytest.CaptureFixture[str]
):
    project.replace(".dagmar/.gitignore", "/logs/", "/mine/")
    project.commit()
    project.template.release("v1.1.0", {IGNORE: ("/logs/", "/theirs/")})
    project.update(quiet=False)
    said = capfd.readouterr().err
    assert said.count('"both modified" means conflicts') == 1
    assert "uv run invoke dev" not in said
    assert "<<<<<<< before updating\n/mine/\n" in project.read(".dagmar/.gitignore")
    assert git(project.path, "diff", "--name-only", "--diff-filter=U") == ".dagmar/.gitignore\n"


def test_an_update_needs_a_clean_tree(project: Project):
    write(project.path, {"new.txt": "x\n"})
    with pytest.raises(UserMessageError, match="dirty"):
        project.update()


def test_what_work_leaves_behind_does_not_make_the_tree_dirty(project: Project):
    made = ["cache/x", "exports/x", "logs/x", "tmp/x", "dev.json", "dagster_home/history/x"]
    write(project.path, {f".dagmar/{name}": "x\n" for name in made})
    assert project.status() == []
    write(project.path, {".dagmar/dagster_home/dagster.yaml": "telemetry: {}\n"})
    assert len(project.status()) == 1


def test_an_adopted_repository_stays_theirs(template: Template, tmp_path: Path):
    path = tmp_path / "legacy"
    theirs = {"pyproject.toml": "# theirs\n", "README.md": "theirs\n", "tools/x.py": "# theirs\n"}
    write(path, theirs)
    project = template.project(path)
    template.release("v1.1.0", {IGNORE: ("/logs/", "/log/")}, {"template/project/README.md": "x\n"})
    project.update()
    assert "/log/" in project.read(".dagmar/.gitignore")
    assert {name: project.read(name) for name in theirs} == theirs
    assert project.status() == [" M .copier-answers.yml", " M .dagmar/.gitignore"]


def test_a_project_in_a_monorepo_updates(template: Template, tmp_path: Path):
    write(tmp_path / "mono", {"other/x.txt": "x\n"})
    template.copy(tmp_path / "mono/pipelines/my-project")
    git(tmp_path / "mono", "init", "-q")
    project = Project(tmp_path / "mono/pipelines/my-project", template)
    (project.path / "tasks.py").unlink()
    project.commit()
    template.release("v1.1.0", {IGNORE: ("/logs/", "/log/")})
    project.update()
    assert "/log/" in project.read(".dagmar/.gitignore")
    assert not (project.path / "tasks.py").exists()
    assert project.status() == [
        " M pipelines/my-project/.copier-answers.yml",
        " M pipelines/my-project/.dagmar/.gitignore",
        " M pipelines/my-project/.dagmar/notebooks/clean_flights.yml",
        " M pipelines/my-project/.dagmar/notebooks/daily_delays.yml",
        " M pipelines/my-project/.dagmar/notebooks/on_time_rate.yml",
        " M pipelines/my-project/.dagmar/notebooks/on_time_report.yml",
        " M pipelines/my-project/.dagmar/notebooks/refresh_flights.yml",
    ]


def test_one_notebook_updates_and_keeps_the_users_edit_and_its_marimo_version(project: Project):
    project.scaffold(ORDERS | {"marimo": "0.25.0"}, SALES)
    project.replace("notebooks/orders.py", "    pair\n", "    mo.md(str(pair))\n")
    project.commit()
    project.template.release("v1.1.0", dict([RENAMED]))
    project.update(".dagmar/notebooks/orders.yml")
    text = project.read("notebooks/orders.py")
    assert "mo.md(str(pair))" in text
    assert "app_title='x'" in text
    assert '__generated_with = "0.25.0"' in text
    assert project.answers(".dagmar/notebooks/orders.yml")["_commit"] == "v1.1.0"
    assert [line[3:] for line in project.status()] == [
        ".dagmar/notebooks/orders.yml",
        "notebooks/orders.py",
    ]


@pytest.mark.nightly  # with the task, in every run: test_update_task.py
def test_all_notebooks_update_in_one_merge_and_a_deleted_one_stays_deleted(project: Project):
    gone = ORDERS | {"name": "gone"}
    project.scaffold(ORDERS, SALES, gone)
    (project.path / "notebooks/gone.py").unlink()
    project.commit()
    joined = project.answers(".dagmar/notebooks/orders.yml") | {"notebooks": [ORDERS, SALES, gone]}
    write(project.path, {".dagmar/tmp/all.yml": yaml.safe_dump(joined)})
    project.template.release("v1.1.0", dict([RENAMED]))
    project.update(".dagmar/tmp/all.yml")
    for name in ("orders", "sales"):
        assert "app_title='x'" in project.read(f"notebooks/{name}.py")
        assert project.answers(f".dagmar/notebooks/{name}.yml")["_commit"] == "v1.1.0"
    assert not (project.path / "notebooks/gone.py").exists()
    assert project.answers()["_commit"] == "v1.0.0"
