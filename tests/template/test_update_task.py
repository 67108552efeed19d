"""`invoke update`: the project and its notebooks in one merge, with real releases."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.git import git
from support.shop_project import invoke
from support.template_releases import (
    COPIED,
    NOTEBOOK_FILE,
    ORDERS,
    RUNNER,
    SALES,
    Project,
    Template,
    write,
)

README = f"{RUNNER}/README.md"
WIDER = {NOTEBOOK_FILE: ("app = marimo.App(", "app = marimo.App(app_title='x', ")}
NOTEBOOKS = [
    "clean_flights",
    "daily_delays",
    "on_time_rate",
    "on_time_report",
    "orders",
    "refresh_flights",
    "sales",
]
"""Those of the example, and two made here."""
GONE = ORDERS | {"name": "gone"}
MINIMAL = [
    one | {"template": "minimal", "folder": "notebooks", "materializable": True}
    for one in (ORDERS, SALES, GONE)
]


@pytest.fixture(scope="module")
def original(_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A committed project at v1.0.0 with edited notebooks, one of them deleted; v1.1.0 is out."""
    tmp = tmp_path_factory.mktemp("original")
    template = Template(shutil.copytree(_project.template.path, tmp / "template"))
    project = _project.duplicate(tmp / "my-project", template)
    project.scaffold(*MINIMAL)
    (project.path / "notebooks/gone.py").unlink()
    project.replace("notebooks/orders.py", "    pair\n", "    mo.md('mine')\n")
    project.replace(f"{COPIED}/README.md", "# ", "# Our ")
    project.commit()
    release(template, "v1.1.0")
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path) -> Project:
    """A separate project and template for each test."""
    template = Template(shutil.copytree(original.template.path, tmp_path / "template"))
    return original.duplicate(tmp_path / "my-project", template)


def release(template: Template, tag: str) -> None:
    text = (template.path / README).read_text("utf-8")
    template.release(tag, WIDER if tag == "v1.1.0" else None, {README: f"{text}\n{tag}.\n"})


def update(project: Project, *flags: str, code: int = 0) -> dict[str, Any]:
    done = invoke(project, "update", *flags, "--json")
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_project_and_edited_notebooks_are_one_merge_and_a_deleted_one_stays_deleted(
    project: Project,
) -> None:
    document = update(project)
    assert document["changed"] == [
        ".copier-answers.yml",
        f"{COPIED}/README.md",
        NOTEBOOK_FILE.removeprefix("template/project/"),
        *(f".dagmar/notebooks/{name}.yml" for name in NOTEBOOKS),
        *(f"notebooks/{name}.py" for name in NOTEBOOKS),
    ]
    assert (document["current"], document["latest"]) == ("v1.0.0", "v1.1.0")
    assert (document["notebooks"], document["conflicts"]) == (NOTEBOOKS, [])
    text = project.read("notebooks/orders.py")
    assert "app_title='x'" in text
    assert "mo.md('mine')" in text
    readme = project.read(f"{COPIED}/README.md")
    assert readme.startswith("# Our ")
    assert readme.endswith("v1.1.0.\n")
    assert not (project.path / "notebooks/gone.py").exists()
    for name in (".copier-answers.yml", ".dagmar/notebooks/orders.yml"):
        answers = project.answers(name)
        assert (answers["_commit"], answers["_src_path"]) == ("v1.1.0", str(project.template.path))
    assert project.answers()["kind"] == "project"
    assert "notebooks" not in project.answers()


def test_the_examples_newest_notebook_stays_deleted_with_its_answers(project: Project) -> None:
    name = "refresh_flights"
    files = [project.path / f"notebooks/{name}.py", project.path / f".dagmar/notebooks/{name}.yml"]
    for file in files:
        file.unlink()
    project.commit()
    assert update(project)["notebooks"] == [one for one in NOTEBOOKS if one != name]
    assert [file for file in files if file.exists()] == []


@pytest.mark.nightly
def test_after_an_update_there_is_nothing_to_do(project: Project) -> None:
    update(project)
    project.commit()
    assert not update(project)["available"]
    project.update()  # Copier alone still works, and finds nothing to do
    assert project.status() == []


HOSTILE = "it's \"\"\" {{ 7 * 7 }} {% raw %} {# x #} \\N{DEGREE SIGN} \\ 'x'\nb: - 😀"


@pytest.mark.nightly
def test_text_from_dagster_stays_what_it_is(template: Template, tmp_path: Path) -> None:
    project = template.project(tmp_path / "my-project")
    inputs = [{"name": "a", "asset": HOSTILE}, {"name": "b", "asset": "b"}]
    one = ORDERS | {"name": "hostile", "asset": HOSTILE, "title": HOSTILE, "inputs": inputs}
    project.scaffold(one | {"template": "default", "folder": "notebooks", "materializable": True})
    before = project.read("notebooks/hostile.py")
    assert f"pair.load({HOSTILE!r})" in before
    project.commit()
    release(template, "v1.1.0")
    assert "hostile" in update(project)["notebooks"]
    assert project.read("notebooks/hostile.py") == before.replace(*WIDER[NOTEBOOK_FILE])
    (answers,) = project.answers(".dagmar/notebooks/hostile.yml")["notebooks"]
    assert (answers["asset"], answers["title"], answers["inputs"]) == (HOSTILE, HOSTILE, inputs)


def test_check_tells_and_changes_nothing(project: Project) -> None:
    document = update(project, "--check")
    assert document["available"]
    assert project.status() == []
    done = invoke(project, "update", "--check")
    assert done.stdout == "v1.0.0 → v1.1.0\n"


def test_to_names_a_version(project: Project) -> None:
    release(project.template, "v1.2.0")
    assert update(project, "--to", "v1.1.0")["latest"] == "v1.1.0"
    assert project.answers()["_commit"] == "v1.1.0"
    project.commit()
    done = invoke(project, "update", "--to", "v1.2.1")
    assert done.returncode == 7
    assert "the template has no version 'v1.2.1' — did you mean 'v1.2.0'?" in done.stderr
    done = invoke(project, "update", "--to", "v1.0.0")
    assert done.returncode == 8
    assert "owngrad" in done.stderr
    assert project.status() == []


def test_conflicts_are_listed_and_exit_8(project: Project) -> None:
    project.replace("notebooks/sales.py", "app = marimo.App(", "app = marimo.App(app_title='y', ")
    project.commit()
    document = update(project, code=8)
    assert document["conflicts"] == ["notebooks/sales.py"]
    assert "<<<<<<< before updating" in project.read("notebooks/sales.py")
    assert project.answers()["_commit"] == "v1.1.0"
    # Neither a stash nor a commit of everything would do now.
    said = invoke(project, "update").stderr
    assert "these files have conflicts: notebooks/sales.py\n" in said
    assert "git stash" not in said


def test_changes_that_are_not_committed_are_an_error_with_what_to_type(project: Project) -> None:
    write(project.path, {"new.txt": "x\n"})
    done = invoke(project, "update")
    assert done.returncode == 8
    assert "there are uncommitted changes: new.txt" in done.stderr
    assert "git stash" in done.stderr
    shutil.rmtree(project.path / ".git")
    done = invoke(project, "update")
    assert done.returncode == 3
    assert "not in git" in done.stderr


@pytest.mark.nightly
def test_notebooks_that_copier_alone_left_behind_come_along(project: Project) -> None:
    project.update()
    project.commit()
    output = invoke(project, "update", "--check").stdout
    assert output == "the project is on v1.1.0; these notebooks are behind: orders, sales\n"
    document = update(project)
    assert (document["current"], document["notebooks"]) == ("v1.1.0", ["orders", "sales"])
    assert "app_title='x'" in project.read("notebooks/orders.py")
    assert document["later"] == []
    assert project.answers(".dagmar/notebooks/orders.yml")["_commit"] == "v1.1.0"


@pytest.mark.nightly
def test_notebooks_behind_are_first_brought_to_the_projects_version(project: Project) -> None:
    project.update()
    project.commit()
    release(project.template, "v1.2.0")
    assert update(project)["later"] == ["everything to v1.2.0"]
    project.commit()
    assert update(project)["later"] == []
    assert project.answers(".dagmar/notebooks/orders.yml")["_commit"] == "v1.2.0"
    assert project.answers()["_commit"] == "v1.2.0"


@pytest.mark.nightly
def test_an_adopted_repository_keeps_its_files_and_its_notebooks_update(
    template: Template, tmp_path: Path
) -> None:
    write(tmp_path / "legacy", {"pyproject.toml": "# theirs\n", "notebooks/README.md": "theirs\n"})
    project = template.project(tmp_path / "legacy")
    project.scaffold(MINIMAL[0])
    project.commit()
    release(template, "v1.1.0")
    assert update(project)["changed"] == [
        ".copier-answers.yml",
        f"{COPIED}/README.md",
        NOTEBOOK_FILE.removeprefix("template/project/"),
        ".dagmar/notebooks/orders.yml",
        "notebooks/orders.py",
    ]
    assert project.read("notebooks/README.md") == "theirs\n"


def test_a_template_that_is_gone_is_an_error_and_changes_nothing(project: Project) -> None:
    shutil.rmtree(project.template.path)
    done = invoke(project, "update")
    assert done.returncode == 3
    assert f"cannot be reached: it was at {project.template.path}, a folder that" in done.stderr
    assert "invoke update --from URL" in done.stderr
    assert project.status() == []


def move_template(project: Project) -> Path:
    return Path(shutil.move(project.template.path, project.template.path.parent / "elsewhere"))


def test_from_looks_for_the_versions_in_another_place(project: Project) -> None:
    elsewhere = move_template(project)
    assert update(project, "--check", "--from", f"file://{elsewhere}")["available"]
    assert project.status() == []
    bare = project.path.parent / "bare"
    git(project.path.parent, "init", "-q", str(bare))
    done = invoke(project, "update", "--from", str(bare))
    assert done.returncode == 3
    assert f"the template at {bare} has no version v1.0.0" in done.stderr
    assert "Push its tags there." in done.stderr
    assert project.status() == []


@pytest.mark.nightly
def test_from_names_another_place_which_is_remembered(project: Project) -> None:
    elsewhere = move_template(project)
    write(project.path, {".dagmar/tmp/update.yml": "of an update that was interrupted\n"})
    update(project, "--from", f"file://{elsewhere}")
    assert not (project.path / ".dagmar/tmp/update.yml").exists()
    names = [".copier-answers.yml", ".dagmar/notebooks/orders.yml", ".dagmar/notebooks/gone.yml"]
    places = {project.answers(name)["_src_path"] for name in names}
    assert places == {f"file://{elsewhere}"}
    project.commit()
    # There is nothing to merge, and a relative path.
    assert update(project, "--from", "../elsewhere")["changed"] == [
        ".copier-answers.yml",
        *(f".dagmar/notebooks/{name}.yml" for name in sorted([*NOTEBOOKS, "gone"])),
    ]
    assert project.answers()["_src_path"] == str(elsewhere)


def test_an_update_needs_no_gitignore_above_the_working_folders(project: Project) -> None:
    """They may be those of an earlier version, which wrote none into them."""
    git(project.path, "rm", "-q", ".dagmar/.gitignore")
    project.commit()
    made = ["cache/x", "exports/x/y", "logs/x", "tmp/marimo.html", "dagster_home/history/x"]
    write(project.path, {f".dagmar/{name}": "x\n" for name in made})
    assert len(project.status()) == len(made)
    document = update(project)
    assert f"{COPIED}/README.md" in document["changed"]
    assert [name for name in made if f".dagmar/{name}" in document["changed"]] == []
    assert not (project.path / ".dagmar/.gitignore").exists()
    project.commit()
    tracked = git(project.path, "ls-files", ".dagmar").splitlines()
    assert [name for name in made if f".dagmar/{name}" in tracked] == []


def test_an_update_that_was_interrupted_says_how_to_go_back(project: Project) -> None:
    write(project.path, {".dagmar/tmp/update.yml": "kind: everything\n", "half.txt": "x\n"})
    done = invoke(project, "update")
    assert done.returncode == 8
    assert "an update was interrupted, and there are uncommitted changes: half.txt" in done.stderr
    assert "git reset --hard && git clean -d --interactive" in done.stderr


@pytest.mark.nightly
def test_migrations_for_projects_and_for_notebooks_both_run(project: Project) -> None:
    script = (
        "from pathlib import Path\n\nKIND = {kind!r}\n\n\n"
        "def after(root: Path, answers_file: Path) -> None:\n"
        "    (root / '{kind}.txt').write_text('x')\n"
    )
    project.template.release(
        "v1.3.0",
        files={
            "hooks/migrations/v1_2_0.py": script.format(kind="project"),
            "hooks/migrations/v1_3_0.py": script.format(kind="notebook"),
        },
    )
    changed = update(project)["changed"]
    assert {"project.txt", "notebook.txt"} <= set(changed)
    assert subprocess.run(["git", "status"], cwd=project.path, capture_output=True).returncode == 0
    git(project.path, "diff", "--check")


@pytest.mark.parametrize("listed", ["3", "[3]", "[{asset: x}]"])
def test_answers_that_were_edited_by_hand_are_named(project: Project, listed: str) -> None:
    text = f"_src_path: {project.template.path}\n_commit: v1.0.0\nnotebooks: {listed}\n"
    write(project.path, {".dagmar/notebooks/orders.yml": text})
    project.commit()
    done = invoke(project, "update")
    assert done.returncode == 7, done.stderr
    assert "orders.yml does not say which notebooks it is about" in done.stderr
    assert project.status() == []
