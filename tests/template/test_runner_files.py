"""Setting the runner aside and merging it back, without Copier: any file, place and git setting."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.git import commit, git
from support.hooks import hook
from support.template_releases import tree, write

files = hook("runner_files")
OLD, NEW = "tools/dagmar", ".dagmar/.eggs/dagmar"
LINES = "".join(f"line_{number} = {number}\n" for number in range(20))
INIT = {"src/dagmar/__init__.py": ""}


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository for releases, which the hooks take for theirs."""
    path = tmp_path / "template"
    git(tmp_path, "init", "-q", str(path))
    monkeypatch.setattr(files, "TEMPLATE", path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a folder of a repository."""
    git(tmp_path, "init", "-q", str(tmp_path / "mono"))
    (tmp_path / "mono/etl").mkdir()
    return tmp_path / "mono/etl"


def release(template: Path, tag: str, folder: str, texts: Mapping[str, str]) -> None:
    shutil.rmtree(template / "template", ignore_errors=True)
    write(template, {f"template/project/{folder}/{name}": text for name, text in texts.items()})
    commit(template)
    git(template, "tag", tag)


def copy(template: Path, project: Path) -> None:
    """Write the newest version, as Copier does."""
    shutil.copytree(template / "template/project", project, dirs_exist_ok=True)


def update(template: Path, project: Path, old: Mapping[str, str]) -> None:
    """Update from v1, and see that the runner is pristine in between."""
    files.set_aside(project, "v1")
    assert tree(project / OLD).keys() in (set(), old.keys())
    for name in old:
        (project / OLD / name).unlink(missing_ok=True)
    copy(template, project)
    files.merge_back(project, "v1")


def unmerged(project: Path) -> list[str]:
    found = git(project, "ls-files", "--unmerged").splitlines()
    return [f"{line.split()[2]} {line.partition(chr(9))[2]}" for line in found]


@pytest.mark.parametrize("folder", [OLD, NEW])
def test_an_edit_follows_a_module_that_is_renamed(template: Path, project: Path, folder: str):
    old = INIT | {"src/dagmar/a.py": LINES}
    release(template, "v1", OLD, old)
    copy(template, project)
    write(project, {f"{OLD}/src/dagmar/a.py": LINES.replace("line_3 = 3", "line_3 = 'mine'")})
    commit(project)
    new = INIT | {"src/dagmar/room/b.py": LINES.replace("line_15 = 15", "line_15 = 'new'")}
    release(template, "v2", folder, new)
    update(template, project, old)
    text = (project / folder / "src/dagmar/room/b.py").read_text()
    assert "line_3 = 'mine'\n" in text
    assert "line_15 = 'new'\n" in text
    assert not (project / folder / "src/dagmar/a.py").exists()
    assert unmerged(project) == []


@pytest.mark.parametrize("folder", [OLD, NEW])
def test_every_kind_of_edit_is_merged_and_reported_and_nothing_is_staged(
    template: Path, project: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("a_deleted.py", "b_layout.py", "c_layout.py", "d [1].py", "e_both.py", "f_same.py")
    old = INIT | dict.fromkeys(names, LINES) | dict.fromkeys(names[1:3], "X = [1,2]\n")
    release(template, "v1", OLD, old)
    latin = "# caf\xe9\n".encode("latin-1")
    (template / "template/project" / OLD / "d [1].py").write_bytes(latin + LINES.encode())
    commit(template)
    git(template, "tag", "--force", "v1")
    copy(template, project)
    (project / OLD / "a_deleted.py").unlink()
    for name in names[1:3]:
        (project / OLD / name).write_text("X = [\n    1,\n    2,\n]\n")
    mine = {"d [1].py": "line_3 = 3", "e_both.py": "line_15 = 15"}
    for name, line in mine.items():
        file = project / OLD / name
        file.write_bytes(file.read_bytes().replace(line.encode(), b"line = 'mine'"))
    write(project, {f"{OLD}/own [2].py": "OWN = 1\n"})
    commit(project)
    new = old | {"e_both.py": LINES.replace("line_15 = 15", "line_15 = 'new'")}
    new["d [1].py"] = LINES.replace("line_15 = 15", "line_15 = 'new'")
    release(template, "v2", folder, new)
    changed = template / "template/project" / folder / "d [1].py"
    changed.write_bytes(latin + changed.read_bytes())
    commit(template)
    files.set_aside(project, "v1")
    copy(template, project)
    files.merge_back(project, "v1")
    inside = project / folder
    assert not (inside / "a_deleted.py").exists()
    assert (inside / "c_layout.py").read_text() == "X = [1,2]\n"
    assert (inside / "own [2].py").read_text() == "OWN = 1\n"
    merged = (inside / "d [1].py").read_bytes()
    assert merged.startswith(latin)
    assert b"line = 'mine'\n" in merged
    assert b"line_15 = 'new'\n" in merged
    assert "<<<<<<<" in (inside / "e_both.py").read_text()
    moved = (
        f"The runner moved from {OLD} to {NEW}. To see what changed in it:\n"
        "  git add --all && git diff --cached --find-renames\n"
    )
    assert capsys.readouterr().err == (
        f"{'' if folder == OLD else moved}"
        "Replaced 2 files of the runner in which only the layout differed.\n"
        f"Your changes were merged into these files of the runner:\n  {folder}/d [1].py\n"
        f"These files of the runner stay deleted:\n  {folder}/a_deleted.py\n"
        f"These files of the runner have conflicts:\n  {folder}/e_both.py\n"
    )
    assert {line.partition(" ")[2] for line in unmerged(project)} == {f"{folder}/e_both.py"}
    assert set(git(project, "diff", "--cached", "--name-only", "--relative").splitlines()) == {
        f"{folder}/e_both.py"
    }


def test_an_edited_module_that_is_gone_is_kept_as_a_conflict(template: Path, project: Path):
    old = INIT | {"src/dagmar/a.py": LINES}
    release(template, "v1", OLD, old)
    copy(template, project)
    write(project, {f"{OLD}/src/dagmar/a.py": LINES.replace("line_3 = 3", "line_3 = 'mine'")})
    commit(project)
    release(template, "v2", NEW, INIT)
    update(template, project, old)
    name = f"{NEW}/src/dagmar/a.py"
    assert "line_3 = 'mine'\n" in (project / name).read_text()
    assert unmerged(project) == [f"1 {name}", f"2 {name}"]
    assert git(project, "status", "--porcelain", name).startswith("UD ")


@pytest.mark.parametrize("folder", [OLD, NEW])
def test_a_runner_that_was_deleted_stays_deleted(
    template: Path, project: Path, folder: str, capsys: pytest.CaptureFixture[str]
):
    old = INIT | {"src/dagmar/a.py": LINES}
    release(template, "v1", OLD, old)
    write(project, {"dagmar.yaml": ""})
    commit(project)
    release(template, "v2", folder, old | {"src/dagmar/b.py": LINES})
    update(template, project, old)
    assert tree(project).keys() == {"dagmar.yaml"}
    assert "was deleted here" in capsys.readouterr().err


@pytest.mark.parametrize(("setting", "folder"), [("true", NEW), ("input", OLD), ("false", OLD)])
def test_line_ends_mean_nothing_whatever_git_makes_of_them(
    template: Path, project: Path, setting: str, folder: str
):
    old = INIT | {"src/dagmar/a.py": LINES, "src/dagmar/b.graphql": "query A {\n  a\n}\n"}
    release(template, "v1", OLD, old)
    git(project, "config", "core.autocrlf", setting)
    crlf = {name: text.replace("\n", "\r\n") for name, text in old.items()}
    for name, text in crlf.items():
        (project / OLD / name).parent.mkdir(parents=True, exist_ok=True)
        (project / OLD / name).write_bytes(text.encode())
    commit(project)
    new = old | {"src/dagmar/a.py": LINES.replace("line_15 = 15", "line_15 = 'new'")}
    release(template, "v2", folder, new)
    update(template, project, old)
    assert {name: text.decode() for name, text in tree(project / folder).items()} == new
    assert unmerged(project) == []


@pytest.mark.parametrize("folder", [OLD, NEW])
def test_a_runner_behind_a_link_is_left_alone(
    template: Path, project: Path, folder: str, tmp_path: Path
) -> None:
    release(template, "v1", OLD, INIT)
    copy(template, project)
    (project / OLD).rename(tmp_path / "shared")
    (project / OLD).symlink_to(tmp_path / "shared")
    commit(project)
    release(template, "v2", folder, INIT | {"src/dagmar/new.py": ""})
    files.set_aside(project, "v1")
    files.merge_back(project, "v1")
    assert (project / OLD).is_symlink()
    assert tree(tmp_path / "shared").keys() == INIT.keys()
    assert git(project, "status", "--porcelain") == ""


def test_a_version_of_the_template_without_a_runner_changes_nothing(
    template: Path, project: Path
) -> None:
    write(template, {"template/project/README.md": "Not yet.\n"})
    commit(template)
    git(template, "tag", "v0")
    release(template, "v1", NEW, INIT)
    write(project, {f"{NEW}/src/dagmar/__init__.py": "MINE = 1\n"})
    commit(project)
    for version in ("v0", "v1"):
        if version == "v1":  # the newest one has none any more
            shutil.rmtree(template / "template/project/.dagmar")
            commit(template)
        files.set_aside(project, version)
        files.merge_back(project, version)
    assert git(project, "status", "--porcelain") == ""


def test_a_shallow_clone_of_the_project_is_enough(template: Path, project: Path):
    old = INIT | {"src/dagmar/a.py": LINES}
    release(template, "v1", OLD, old)
    copy(template, project)
    commit(project)
    write(project, {f"{OLD}/src/dagmar/a.py": LINES.replace("line_3 = 3", "line_3 = 'mine'")})
    commit(project)
    clone = project.parent.parent / "clone"
    git(project, "clone", "-q", "--depth", "1", f"file://{project.parent}", str(clone))
    release(template, "v2", NEW, old)
    update(template, clone / "etl", old)
    assert "'mine'" in (clone / "etl" / NEW / "src/dagmar/a.py").read_text()


def test_files_of_the_user_move_and_those_that_git_ignores_stay(template: Path, project: Path):
    release(template, "v1", OLD, INIT)
    copy(template, project)
    write(project, {f"{OLD}/src/dagmar/mine.py": "MINE = 1\n", ".gitignore": "*.env\n"})
    commit(project)
    write(project, {f"{OLD}/local.env": "x\n", f"{OLD}/src/dagmar/__pycache__/a.pyc": "x\n"})
    git(project, "config", "core.excludesFile", str(project / ".gitignore"))
    release(template, "v2", NEW, INIT)
    files.set_aside(project, "v1")
    copy(template, project)
    files.merge_back(project, "v1")
    assert tree(project).keys() == {
        ".gitignore",
        f"{OLD}/local.env",
        f"{NEW}/src/dagmar/__init__.py",
        f"{NEW}/src/dagmar/mine.py",
    }


def test_what_a_project_would_lose_with_its_copy(template: Path, project: Path) -> None:
    texts = {**INIT, "edited.py": LINES, "laid_out.py": "X = [1,2]\n", "gone.py": "", "kept.py": ""}
    around = {".dagmar/.eggs/ruff.toml": "", ".dagmar/.gitattributes": "* generated\n"}
    write(template, {f"template/project/{name}": text for name, text in around.items()})
    for name, text in texts.items():
        write(template, {f"template/project/{NEW}/{name}": text})
    commit(template)
    git(template, "tag", "v1")
    copy(template, project)
    (project / NEW / "gone.py").unlink()
    edits = {f"{NEW}/edited.py": f"{LINES}more = 1\n", f"{NEW}/mine.py": "", ".dagmar/.eggs/x": ""}
    write(project, {f"{NEW}/laid_out.py": "X = [\n    1,\n    2,\n]\n", **edits})
    commit(project)
    assert files.list_edits(project, "v1") == sorted(edits)


def test_what_is_left_of_a_copy_goes_once_the_project_has_the_package(
    template: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(template, "v1", NEW, INIT)
    copy(template, project)
    schema = f"# yaml-language-server: $schema={NEW}/src/dagmar/project/settings.schema.json\n"
    write(project, {"dagmar.yaml": f"{schema}target: prod\n", "mine.txt": "mine\n"})
    commit(project)
    (project / NEW / "src/dagmar/__init__.py").unlink()
    write(project, {f"{NEW}/src/dagmar/__pycache__/a.pyc": "x\n"})
    git(project, "add", "-A")  # as Copier does with what it merged
    files.remove_rest(project, "v1")
    assert not (project / ".dagmar").exists()
    assert (project / "dagmar.yaml").read_text() == (
        "# yaml-language-server: $schema=.dagmar/settings.schema.json\ntarget: prod\n"
    )
    assert git(project, "diff", "--cached", "--name-only") == ""
    assert capsys.readouterr().err == (
        f"{NEW} was removed: this project depends on the package dagmar now.\n"
    )
    write(template, {"template/project/README.md": "No runner here.\n"})
    shutil.rmtree(template / "template/project/.dagmar")
    commit(template)
    git(template, "tag", "v0")
    files.remove_rest(project, "v0")
    assert capsys.readouterr().err == ""


ADD = "uv add --dev --no-workspace --editable ./.dagmar/.eggs/dagmar --extra cli"


@pytest.mark.parametrize(
    ("adopted", "moved", "command"),
    [
        (False, False, "uv sync"),
        (True, False, ADD),
        (True, True, f"uv remove --frozen --dev dagmar && {ADD}"),
    ],
)
def test_what_installs_the_runner_is_said(
    adopted: bool, moved: bool, command: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[project]\nname = "etl"\nversion = "0"\nrequires-python = ">=3.10"\n'
    write(project, {"pyproject.toml": text, "uv.lock": "version = 1\n"})
    files.say_what_to_install(project, adopted, moved)
    assert capsys.readouterr().err == f"To install dagmar, type: {command}\n"


def test_empty_folders_and_bytecode_of_a_place_that_was_left_go(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a/b/old/src/__pycache__/x.pyc": "x",
            "a/b/old/empty/nested/__pycache__/y.pyc": "y",
            "a/kept.txt": "mine",
        },
    )
    files.remove_empty(tmp_path, "a/b/old")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept.txt"]
    (tmp_path / "a/kept.txt").unlink()
    files.remove_empty(tmp_path, "a/b/old")
    assert tmp_path.is_dir()
    assert list(tmp_path.iterdir()) == []
