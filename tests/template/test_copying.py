"""`copier copy`: trust, hooks or none, odd places, a second time, and somebody's own repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from copier.errors import UnsafeTemplateError
from support.git import git
from support.template_releases import COPIED, Project, Template, tree, write

THEIRS = {
    ".github/workflows/ci.yml": "on: push\n",
    ".gitignore": "__pycache__/\n",
    ".python-version": "3.12\n",
    "LICENSE": "theirs\n",
    "README.md": "# Legacy\n",
    "dagmar.yaml": "target: theirs\n",
    "data/orders.csv": "a,b\n",
    "notebooks/old.ipynb": "{}\n",
    "pyproject.toml": '[project]\nname = "legacy"\n',
    "src/legacy_etl/__init__.py": "",
    "src/legacy_etl/definitions.py": "# theirs\n",
    "tasks.py": "# their own tasks\n",
    "tests/test_legacy.py": "# theirs\n",
    "tools/other.py": "# theirs\n",
}


def test_without_trust_copier_refuses_and_leaves_nothing(small: Template, tmp_path: Path):
    with pytest.raises(UnsafeTemplateError):
        small.copy(tmp_path / "x", skip_tasks=False)
    assert not (tmp_path / "x").exists()


def test_without_hooks_the_project_is_complete(released: Template, fresh: Path, tmp_path: Path):
    released.copy(tmp_path / "my-project", skip_tasks=False, unsafe=True)
    assert tree(tmp_path / "my-project") == tree(fresh)
    assert (tmp_path / "my-project/.git").is_dir()
    assert not (fresh / ".git").exists()


def test_the_first_commit_holds_everything(released: Template, tmp_path: Path):
    """What the project's own .gitignore files hid would be missing in every clone."""
    released.copy(tmp_path / "x", skip_tasks=False, unsafe=True)
    assert git(tmp_path / "x", "status", "--porcelain", "--ignored") == ""
    assert git(tmp_path / "x", "log", "--format=%s") == "chore: start from the dagmar template\n"


@pytest.mark.parametrize(
    "name",
    [
        "données [1] it's",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("with space", "données 数据", "it's etl[1]")
        ),
    ],
)
def test_a_project_may_have_any_path(small: Template, tmp_path: Path, name: str):
    path = tmp_path / name / "my-project"
    small.copy(path, skip_tasks=False, unsafe=True)
    assert (path / ".dagmar/.gitignore").is_file()
    assert "package: my_project\n" in (path / ".copier-answers.yml").read_text("utf-8")
    assert git(path, "log", "--format=%s") == "chore: start from the dagmar template\n"
    assert git(path, "status", "--porcelain") == ""


def test_copying_again_changes_nothing(small: Template, tmp_path: Path):
    project = small.project(tmp_path / "my-project")
    write(project.path, {"tasks.py": "# mine\n", "dagmar.yaml": "target: prod\n"})
    project.commit()
    small.copy(project.path, overwrite=True)
    assert project.status() == []


@pytest.mark.parametrize("sign", ["pyproject.toml", "LICENSE"])
def test_a_first_copy_overwrites_no_file_even_when_told_to(
    small: Template, tmp_path: Path, sign: str
):
    mine = {sign: "mine\n", "README.md": "mine\n", f"{COPIED}/README.md": "mine\n"}
    write(tmp_path / "mine", mine | {".dagmar/.gitignore": "mine\n"})
    small.copy(tmp_path / "mine", overwrite=True)
    found = tree(tmp_path / "mine")
    assert {name: found[name].decode() for name in mine} == mine
    assert (f"{COPIED}/pyproject.toml" in found, "pyproject.toml" in found) == (True, True)


def test_scaffolding_again_changes_nothing(small: Template, tmp_path: Path):
    project = small.project(tmp_path / "my-project")
    notebook = {"name": "orders", "asset": "orders", "marimo": "0.25.2"}
    project.scaffold(notebook)
    project.commit()
    project.scaffold(notebook, overwrite=True)
    assert project.status() == []


def test_scaffolding_leaves_git_alone(small: Template, tmp_path: Path):
    notebook = {"name": "orders", "asset": "orders", "marimo": "0.25.2"}
    Project(tmp_path / "x", small).scaffold(notebook, skip_tasks=False, unsafe=True)
    assert not (tmp_path / "x/.git").exists()


def test_what_to_type_next_is_said_once(
    small: Template, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    small.copy(tmp_path / "my project", skip_tasks=False, unsafe=True, quiet=False)
    said = capfd.readouterr().err
    assert said.count("Created a git repository with a first commit.") == 1
    assert said.count("Next:") == said.count("uv sync") == said.count("pip install") == 1
    assert f"cd '{tmp_path / 'my project'}'" in said
    assert "git init" not in said
    assert said.count("uv run invoke dev ") == 1


def test_a_copy_without_hooks_says_how_to_get_into_git(
    small: Template, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    small.copy(tmp_path / "x", quiet=False)
    assert "git init && git add . && git commit" in capfd.readouterr().err


def test_quiet_is_quiet(small: Template, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    small.copy(tmp_path / "x", skip_tasks=False, unsafe=True)
    assert capfd.readouterr() == ("", "")


def test_adopting_leaves_every_file_as_it_was(small: Template, tmp_path: Path):
    write(tmp_path / "legacy", THEIRS)
    before = tree(tmp_path / "legacy")
    answers = small.copy(tmp_path / "legacy")
    assert (answers["adopt"], answers["package"]) == (True, "")
    assert answers["example"] is False
    after = tree(tmp_path / "legacy")
    assert {name: after[name] for name in before} == before


def test_adopting_adds_the_runner_and_its_few_files(
    released: Template, fresh: Path, tmp_path: Path
):
    write(tmp_path / "legacy", {"pyproject.toml": '[project]\nname = "legacy"\n'})
    released.copy(tmp_path / "legacy")
    added = set(tree(tmp_path / "legacy")) - {"pyproject.toml"}
    assert {name for name in added if not name.startswith(f"{COPIED}/")} == {
        ".copier-answers.yml",
        ".dagmar/.eggs/.gitignore",
        ".dagmar/AGENTS.md",
        ".dagmar/.eggs/ruff.toml",
        ".dagmar/.gitattributes",
        ".dagmar/.gitignore",
        ".dagmar/dagster_home/dagster.yaml",
        ".dagmar/settings.schema.json",
        "dagmar.yaml",
        "tasks.py",
    }
    assert tree(tmp_path / "legacy" / COPIED) == tree(fresh / COPIED)


@pytest.mark.parametrize(
    ("folder", "sign", "asked"),
    [
        ("legacy", "setup.py", True),
        ("legacy", "workspace.yaml", False),
        ("legacy[1]", "setup.cfg", True),
        ("legacy*", "Etl/definitions.py", False),
        ("legacy", "dg.toml", False),
        ("legacy", "repo.py", False),
        ("legacy", "requirements-dev.txt", True),
        ("legacy", "Pipfile", True),
        ("legacy", "environment.yml", True),
        ("legacy", "services/etl/definitions.py", False),
        ("legacy", "pixi.toml", True),
    ],
)
def test_an_existing_project_is_recognized_by_its_files(
    questions: Template, tmp_path: Path, folder: str, sign: str, asked: bool
):
    write(tmp_path / folder, {sign: "# theirs\n"})
    answers = questions.copy(tmp_path / folder, pretend=True)
    assert answers["adopt"] is True
    assert answers["unclear"] is False
    assert answers["package"] == ""
    assert (answers["sign"] != "package") is asked


@pytest.mark.parametrize("theirs", ["notes.txt", "docs/a.md", "etl/a/b/load.py"])
def test_with_other_files_it_asks_and_adopts_if_nobody_answers(
    questions: Template, tmp_path: Path, theirs: str
):
    write(tmp_path / "x", {theirs: "theirs\n"})
    answers = questions.copy(tmp_path / "x", pretend=True)
    assert (answers["unclear"], answers["adopt"]) == (True, True)
    answers = questions.copy(tmp_path / "y", pretend=True)
    assert (answers["unclear"], answers["adopt"]) == (False, False)


def test_a_repository_that_was_just_created_becomes_a_project_and_keeps_its_files(
    small: Template, tmp_path: Path
):
    theirs = {"README.md": "mine\n", "LICENSE": "x\n", ".gitignore": "x\n", ".env": "A=1\n"}
    write(tmp_path / "shop", theirs)
    answers = small.copy(tmp_path / "shop")
    assert answers["adopt"] is False
    assert {name: (tmp_path / "shop" / name).read_text() for name in theirs} == theirs
    assert (tmp_path / "shop/src/shop/definitions.py").is_file()


@pytest.mark.parametrize("typed", ["etl/other.py", "../etl.py", "1x", "a..b"])
def test_an_answer_that_is_neither_a_module_nor_a_file_is_refused(
    questions: Template, tmp_path: Path, typed: str
):
    write(tmp_path / "x", {"pyproject.toml": "", "etl/repo.py": ""})
    questions.copy(tmp_path / "x", data={"package": "etl/repo.py"}, pretend=True)
    questions.copy(tmp_path / "x", data={"package": "etl.repo"}, pretend=True)
    with pytest.raises(ValueError, match="neither a file of this repository nor a Python module"):
        questions.copy(tmp_path / "x", data={"package": typed}, pretend=True)


def test_a_package_of_tasks_is_not_hidden_by_a_file(small: Template, tmp_path: Path):
    here = tmp_path / "legacy[1]"
    write(here, {**THEIRS, "tasks/__init__.py": "# theirs\n"})
    (here / "tasks.py").unlink(missing_ok=True)
    small.copy(here)
    assert (here / "dagmar.yaml").is_file()
    assert not (here / "tasks.py").exists()


def test_adopting_commits_nothing_of_theirs(
    small: Template, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    write(tmp_path / "legacy", THEIRS)
    small.copy(tmp_path / "legacy", skip_tasks=False, unsafe=True, quiet=False)
    assert not (tmp_path / "legacy/.git").exists()
    said = capfd.readouterr().err
    assert "git init && git add . && git commit" in said
    assert "Your tasks.py was kept" in said
    assert "Found: uv" in said
    assert "uv add --dev --no-workspace --editable ./.dagmar/.eggs/dagmar --extra cli" in said
    assert "uv sync" not in said


@pytest.mark.parametrize(
    "theirs",
    [
        ".hidden/x",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("notes.txt", ".env", "a/b/c/d")
        ),
    ],
)
def test_any_file_in_the_folder_keeps_the_hook_from_committing(
    small: Template, tmp_path: Path, theirs: str
):
    write(tmp_path / "x", {theirs: "theirs\n"})
    small.copy(tmp_path / "x", skip_tasks=False, unsafe=True)
    assert not (tmp_path / "x/.git").exists()
