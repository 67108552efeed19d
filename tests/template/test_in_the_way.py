"""Files that git has no copy of survive an update, however git is configured not to show them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from copier.errors import TaskError
from dagmar.project.layout import keep_out_of_git, make_folder
from support.git import commit, git
from support.hooks import hook
from support.shop_project import invoke
from support.template_releases import Project, Template, tree, write

UPDATE = {"template/project/docs/local.md": "of the template\n"}
Place = Callable[[Project], None]
CASES: dict[str, tuple[Place, list[str]]] = {}


@pytest.fixture(scope="module")
def original(small: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A committed project at v1.0.1; v1.1.0 adds `docs/local.md` and removes `old.md`."""
    tmp = tmp_path_factory.mktemp("in-the-way")
    template = Template(shutil.copytree(small.path, tmp / "template"))
    template.release("v1.0.1", files={"template/project/old.md": "of the template\n"})
    project = template.project(tmp / "my-project", example=False)
    template.release("v1.1.0", files=UPDATE, removed="template/project/old.md")
    return project


@pytest.fixture
def project(original: Project, tmp_path: Path) -> Project:
    """A separate project for each test."""
    return Project(shutil.copytree(original.path, tmp_path / "my-project"), original.template)


def case(*names: str) -> Callable[[Place], Place]:
    """Keep how files get in the way, and which are reported then."""

    def decorate(place: Place) -> Place:
        CASES[place.__name__] = place, list(names)
        return place

    return decorate


def exclude(project: Project, *rules: str) -> None:
    write(project.path, {".git/info/exclude": "".join(f"{rule}\n" for rule in rules)})


@case("docs/local.md")
def a_repository_that_shows_no_untracked_files(project: Project) -> None:
    git(project.path, "config", "status.showUntrackedFiles", "no")
    write(project.path, {"docs/local.md": "mine\n"})


@case("docs/local.md")
def a_file_in_info_exclude(project: Project) -> None:
    exclude(project, "/docs/")
    write(project.path, {"docs/local.md": "mine\n"})


@case("docs/local.md")
def a_file_in_the_users_own_excludes(project: Project) -> None:
    write(project.path.parent, {"rules": "*.md\n"})
    git(project.path, "config", "core.excludesFile", str(project.path.parent / "rules"))
    write(project.path, {"docs/local.md": "mine\n"})


@case("docs/local.md")
def a_file_that_gitignore_names(project: Project) -> None:
    write(project.path, {"docs/local.md": "mine\n", "docs/.gitignore": "*\n"})


@case("old.md")
def edits_that_git_assumes_not_to_exist(project: Project) -> None:
    git(project.path, "update-index", "--assume-unchanged", "old.md")
    write(project.path, {"old.md": "mine\n"})


@case("README.md", "old.md")
def edits_in_a_skipped_worktree(project: Project) -> None:
    git(project.path, "update-index", "--skip-worktree", "old.md", "README.md", "tasks.py")
    write(project.path, dict.fromkeys(("old.md", "README.md", "tasks.py"), "mine\n"))


@case()
def a_sparse_checkout(project: Project) -> None:
    git(project.path, "status")  # else a file that was copied counts as changed
    git(project.path, "sparse-checkout", "set", "--no-cone", "/*", "!/old.md", "!/README.md")
    assert not (project.path / "old.md").exists()


@case("old.md")
def a_removed_file_that_came_back(project: Project) -> None:
    git(project.path, "rm", "-q", "old.md")
    project.commit()
    exclude(project, "old.md")
    write(project.path, {"old.md": "mine\n"})


@case("docs")
def a_file_in_place_of_a_folder(project: Project) -> None:
    write(project.path, {"docs": "mine\n"})
    project.commit()


@case("docs/local.md")
def a_folder_in_place_of_a_file(project: Project) -> None:
    write(project.path, {"docs/local.md/mine.md": "mine\n"})
    project.commit()


@case("docs")
def a_link_to_a_folder_elsewhere(project: Project) -> None:
    write(project.path.parent, {"elsewhere/local.md": "mine\n"})
    (project.path / "docs").symlink_to(project.path.parent / "elsewhere")
    project.commit()


@case("docs/local.md")
def a_link_to_a_folder_of_untracked_files(project: Project) -> None:
    exclude(project, "/pages/")
    write(project.path, {"pages/local.md": "mine\n"})
    (project.path / "docs").symlink_to("pages")
    project.commit()


@case("docs/local.md")
def an_untracked_link(project: Project) -> None:
    exclude(project, "/docs/")
    (project.path / "docs").mkdir()
    (project.path / "docs/local.md").symlink_to("nowhere")


@case("docs/local.md")
def a_repository_inside(project: Project) -> None:
    write(project.path, {"docs/local.md": "theirs\n"})
    git(project.path / "docs", "init", "-q")
    exclude(project, "/docs/")


@case("docs/local.md")
def a_submodule(project: Project) -> None:
    write(project.path, {"docs/local.md": "theirs\n"})
    git(project.path / "docs", "init", "-q")
    commit(project.path / "docs")
    project.commit()


@case("notes.rej")
def a_rejected_patch_of_the_user(project: Project) -> None:
    exclude(project, "*.rej")
    write(project.path, {"notes.rej": "mine\n"})


@case()
def the_same_content(project: Project) -> None:
    exclude(project, "/docs/")
    write(project.path, {"docs/local.md": "of the template\n"})


@case()
def files_that_the_template_does_not_have(project: Project) -> None:
    exclude(project, "/mine/", "*.ipynb")
    write(project.path, {"mine/data.md": "mine\n", "docs/x.ipynb": "{}", ".venv/lib/x.py": ""})
    write(project.path, {"docs/.gitignore": "*.log\n", "docs/Local.md": "mine\n"})
    project.commit()
    write(project.path, {"docs/x.log": "mine\n"})


@case("README.md", "docs/local.md", "notes.rej", "old.md")
def several_at_once(project: Project) -> None:
    edits_in_a_skipped_worktree(project)
    a_file_in_info_exclude(project)
    exclude(project, "/docs/", "*.rej")
    write(project.path, {"notes.rej": "mine\n"})


IN_CI = (several_at_once, the_same_content)
EACH = [
    pytest.param(name, marks=() if place in IN_CI else pytest.mark.nightly, id=name)
    for name, (place, _) in CASES.items()
]


@pytest.mark.parametrize("name", EACH)
def test_what_git_has_no_copy_of_is_found_before_an_update(name: str, project: Project) -> None:
    place, expected = CASES[name]
    place(project)
    hook = load(project)
    answers = Path(".copier-answers.yml")
    found = hook.list_in_the_way(project.path, answers, "v1.0.1", "v1.1.0")
    assert found == expected


def test_an_ordinary_project_is_not_rendered_to_find_out(project: Project) -> None:
    cached = ".dagmar/cache/template.git/objects/ab/0123"
    write(project.path, {cached: "x", ".env": "x", "storage/orders": "x", "mine.csv": "x"})
    write(project.path, {"venv/lib/x.py": "x", "build/notebooks/x.py": "x"})
    exclude(project, "/mine.csv", "/venv/", "/build/")
    module = load(project)
    module._render = None
    joined = ".dagmar/tmp/update.yml"  # of `invoke update`
    write(project.path, {joined: project.read(".copier-answers.yml")})
    for answers in (".copier-answers.yml", joined):
        assert module.list_in_the_way(project.path, Path(answers), "v1.0.1", "v1.1.0") == []


def load(project: Project) -> ModuleType:
    """Import the hook of this project's template, with what it imports."""
    names = ("in_the_way", "runner")
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        return hook("in_the_way", project.template.path)
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(others)


def files(project: Project) -> dict[str, bytes]:
    """All files but the clone of the template."""
    return {name: text for name, text in tree(project.path).items() if "/cache/" not in name}


def test_an_update_refuses_and_changes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file_in_info_exclude(project)
    make_folder(project.path / ".dagmar/tmp")
    keep_out_of_git(project.path)
    before = files(project)
    monkeypatch.setenv("GIT_INDEX_FILE", str(project.path.parent / "another"))
    done = invoke(project, "update")
    assert (done.returncode, done.stdout) == (8, "")
    assert "git has no copy of them:\n  docs/local.md\n" in done.stderr
    assert "nothing was changed" in done.stderr
    monkeypatch.delenv("GIT_INDEX_FILE")
    with pytest.raises(TaskError) as caught:
        project.update()
    assert caught.value.returncode == 8
    assert files(project) == before
    assert project.status() == []


def test_a_file_that_is_not_shown_is_not_taken_for_committed(project: Project) -> None:
    a_repository_that_shows_no_untracked_files(project)
    done = invoke(project, "update")
    assert done.returncode == 8
    assert "there are uncommitted changes: docs/" in done.stderr


@pytest.mark.nightly
def test_conflicts_are_marked_though_untracked_files_are_not_shown(project: Project) -> None:
    """Copier looks for the hunks that it could not merge among untracked files."""
    git(project.path, "config", "status.showUntrackedFiles", "no")
    write(project.path, {"README.md": "# Mine\n"})
    git(project.path, "commit", "-qam", "x")
    template = Template(shutil.copytree(project.template.path, project.path.parent / "template"))
    template.release("v1.2.0", files={"template/project/README.md.jinja": "# Theirs\n"})
    answers = project.read(".copier-answers.yml")
    answers = answers.replace(str(project.template.path), str(template.path))
    write(project.path, {".copier-answers.yml": answers})
    git(project.path, "commit", "-qam", "x")
    done = invoke(project, "update", "--json")
    assert done.returncode == 8, done.stderr
    assert json.loads(done.stdout)["conflicts"] == ["README.md"]
