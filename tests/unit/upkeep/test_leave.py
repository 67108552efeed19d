"""`invoke leave`: what dagmar added goes, byte for byte, and what the team wrote stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from dagmar.errors import Conflict, SetupError
from dagmar.project import devfile
from dagmar.scaffold import folder
from dagmar.upkeep import leave
from support import leftovers
from support.git import commit, git
from support.project import Project
from support.source import ROOT

TEMPLATE = ROOT / "template/project"
PLACE = ".dagmar/.eggs/dagmar"
BEFORE = {
    ".gitignore": "__pycache__/\n.venv/",
    "README.md": "# Legacy\n",
    "pyproject.toml": '[project]\nname = "etl"\n\n\n[tool.ruff]\n',
    "uv.lock": "version = 1\n",
    "src/etl/definitions.py": "# theirs\n",
}
WIRING = (
    '\n[tool.uv.sources]\ndagmar = { path = ".dagmar/.eggs/dagmar", editable = true }\n'
    '\n[dependency-groups]\ndev = [\n    "dagmar[cli]",\n]\n'
)
ADDED = {
    ".copier-answers.yml": "_src_path: /template\nadopt: true\n",
    ".dagmar/.gitignore": (TEMPLATE / ".dagmar/.gitignore").read_text("utf-8"),
    ".dagmar/AGENTS.md": "# For agents\n",
    ".dagmar/.eggs/dagmar/pyproject.toml": "[project]\n",
    ".dagmar/.eggs/dagmar/src/dagmar/__init__.py": "",
    "dagmar.yaml": "",
    "tasks.py": (TEMPLATE / "tasks.py").read_text("utf-8"),
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())


@pytest.fixture
def adopted(tmp_path: Path) -> Project:
    """A repository with two commits: its own, and that of the adoption."""
    root = tmp_path / "etl"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    write(root, BEFORE)
    commit(root)
    wired = {"pyproject.toml": BEFORE["pyproject.toml"] + WIRING}
    write(root, {**ADDED, **wired, "uv.lock": 'version = 1\n[[package]]\nname = "dagmar"\n'})
    commit(root)
    return Project(root)


def go(project: Project, **flags: bool) -> None:
    leave.leave(project.root, project.root / "notebooks", yes=True, **flags)


def changes(project: Project, *since: str) -> list[str]:
    """Return what differs from a commit, untracked files too."""
    git(project.root, "add", "-A")
    return git(project.root, "diff", "--cached", "--name-status", *since).splitlines()


def test_the_repository_is_as_before_the_adoption(adopted: Project):
    write(adopted.root, {".dagmar/logs/dagster.log": "x", ".dagmar/exports/_marimo/a.js": "x"})
    done = adopted.invoke("leave", "--yes")
    assert done.returncode == 0, done.stderr
    assert changes(adopted, "HEAD~1") == []
    assert "git add -A && git commit" in done.stderr
    assert not (adopted.root / ".dagmar").exists()


def test_dry_run_lists_and_removes_nothing(adopted: Project):
    done = adopted.invoke("leave", "--dry-run")
    assert done.returncode == 0, done.stderr
    listed = [line.split()[:2] for line in done.stdout.splitlines()]
    assert listed == [
        *(
            ["remove", name]
            for name in (".copier-answers.yml", "dagmar.yaml", ".dagmar/", "tasks.py")
        ),
        *(["change", name] for name in ("pyproject.toml", "uv.lock")),
    ]
    assert changes(adopted, "HEAD") == []
    asked = adopted.invoke("leave")
    assert (asked.returncode, "add --yes" in asked.stderr) == (2, True)


def test_what_the_team_wrote_since_then_stays(
    adopted: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", os.path.dirname(str(shutil.which("git"))))  # no uv
    notebooks = adopted.root / "notebooks"
    rules = folder.rules_for(notebooks)
    theirs = {
        "notebooks/orders.py": "import dagmar\n",
        "src/etl/definitions.py": "# theirs, later\n",
        "pyproject.toml": BEFORE["pyproject.toml"] + "line-length = 99\n" + WIRING,
        "Makefile": "dev:\n\tinvoke dev  # dagmar\n",
    }
    ours = {"notebooks/.gitignore": "__marimo__/\n", "notebooks/ruff.toml": rules}
    write(adopted.root, {**theirs, **ours})
    commit(adopted.root)
    go(adopted)
    # What ruff needs for notebooks stays with them.
    names = [*sorted([*theirs, *ours]), "uv.lock"]
    assert [line.split("\t")[1] for line in changes(adopted, "HEAD~2")] == names
    text = (adopted.root / "pyproject.toml").read_text()
    assert text == BEFORE["pyproject.toml"] + "line-length = 99\n"
    said = capsys.readouterr().err
    assert "notebooks/: 1 notebook importing marimo and dagmar: orders.py" in said
    assert "  uv lock\n" in said
    assert "Makefile: it mentions dagmar in line 2" in said


def test_with_pip_the_package_is_left_to_uninstall(
    adopted: Project, capsys: pytest.CaptureFixture[str]
):
    git(adopted.root, "rm", "-q", "pyproject.toml", "uv.lock")
    write(adopted.root, {"requirements.txt": "dagster==1.12.13\n"})
    commit(adopted.root)
    go(adopted)
    said = capsys.readouterr().err
    assert "pip uninstall dagmar\n" in said
    assert "pip install" not in said


@pytest.mark.parametrize("start", ["", "# "])
def test_a_tasks_file_with_tasks_of_the_team_stays_and_its_lines_are_named(
    start: str, adopted: Project, capsys: pytest.CaptureFixture[str]
):
    lines = ("from invoke.tasks import task", "@task", "def hello(c):", "    pass")
    own = "\n\n" + "".join(f"{start}{line}\n" for line in lines)
    (adopted.root / "tasks.py").write_text(ADDED["tasks.py"] + own, "utf-8")
    commit(adopted.root)
    go(adopted)
    assert (adopted.root / "tasks.py").exists()
    lines = ADDED["tasks.py"].splitlines()
    first, last = lines.index("try:") + 1, lines.index("ns = namespace(__file__)")
    said = capsys.readouterr().err
    assert f"delete what is of dagmar in lines {first}–{last - 1}, line {last + 1}" in said


@pytest.mark.parametrize("name", ["tasks.py", "tasks/__init__.py"])
def test_the_lines_in_a_tasks_file_of_theirs_are_named(
    name: str, adopted: Project, capsys: pytest.CaptureFixture[str]
):
    text = "import os\n\ntry:\n    import dagmar.tasks\n    ns = dagmar.tasks.namespace(__file__)\n"
    write(adopted.root, {name: f"{text}except ModuleNotFoundError:\n    pass\n"})
    commit(adopted.root)
    go(adopted)
    assert (adopted.root / name).is_file()
    assert "delete what is of dagmar in lines 3–7" in capsys.readouterr().err


def test_an_edited_runner_needs_force(adopted: Project):
    write(adopted.root, {".dagmar/.eggs/dagmar/src/dagmar/__init__.py": "# edited\n"})
    commit(adopted.root)
    with pytest.raises(Conflict, match=r"edited files of the runner: .*__init__\.py"):
        go(adopted)
    assert changes(adopted, "HEAD") == []
    assert adopted.invoke("leave", "--yes", "--force").returncode == 0
    assert changes(adopted, "HEAD~2") == []


def test_a_file_of_the_user_among_the_exports_is_listed_and_not_removed(
    adopted: Project, capsys: pytest.CaptureFixture[str]
):
    exports = ".dagmar/exports"
    report = leftovers.export(adopted.root, "orders", leftovers.id_of(1))
    changed = leftovers.export(adopted.root, "orders", leftovers.id_of(2))
    write(adopted.root, {f"{exports}/index.html": "", f"{exports}/_marimo/a.js": ""})
    go(adopted, dry_run=True)
    assert exports not in capsys.readouterr().out
    (changed / "a.html").write_text("with my remarks")
    write(adopted.root, {f"{exports}/mine.txt": "", f"{exports}/orders/mine/a.csv": "1"})
    with pytest.raises(Conflict, match=r"write it: .*/mine\.txt, .*/orders/2.*/mine") as caught:
        go(adopted)
    assert "--force" in caught.value.hint
    assert [line for line in capsys.readouterr().out.splitlines() if exports in line] == [
        f"remove  {exports}/mine.txt  (dagmar did not write it; git has no copy)",
        f"remove  {exports}/orders/{changed.name}  (a.html was changed since; git has no copy)",
        f"remove  {exports}/orders/mine  (it has no manifest.json; it may be an export in "
        "progress; git has no copy)",
    ]
    assert (report.exists(), (adopted.root / exports / "mine.txt").exists()) == (True, True)
    git(adopted.root, "add", "-f", f"{exports}/mine.txt", f"{exports}/orders")
    commit(adopted.root)
    go(adopted, dry_run=True)
    assert exports not in capsys.readouterr().out
    git(adopted.root, "reset", "-q", "HEAD~1")
    go(adopted, force=True)
    assert changes(adopted, "HEAD~1") == []


@pytest.mark.parametrize("name", ["dagmar.yaml", "pyproject.toml", ".dagmar/notebooks/new.yml"])
def test_what_is_not_committed_is_not_removed(adopted: Project, name: str):
    write(adopted.root, {name: '[project]\nname = "edited"\n'})
    with pytest.raises(Conflict, match=f"not committed: {name[:17]}"):
        go(adopted)
    assert (adopted.root / name).read_text() == '[project]\nname = "edited"\n'
    write(adopted.root, {"src/etl/new.py": ""})
    git(adopted.root, "checkout", "-q", ".")
    if not name.startswith(".dagmar/"):
        go(adopted)


def test_an_adoption_that_is_not_committed_is_left_alone(adopted: Project):
    git(adopted.root, "reset", "-q", "--soft", "HEAD~1")
    with pytest.raises(SetupError, match="is not committed"):
        go(adopted)


def test_it_does_not_start_while_dev_runs(adopted: Project):
    devfile.write(adopted.root, devfile.Running(os.getpid(), devfile.now()))
    with pytest.raises(Conflict, match="`invoke dev` is running") as caught:
        go(adopted)
    assert str(os.getpid()) in caught.value.command
    go(adopted, dry_run=True)  # which can be read at any time
    assert changes(adopted, "HEAD") == []


@pytest.mark.parametrize("step", range(6))
def test_interrupted_at_any_step_it_can_be_repeated(
    adopted: Project, step: int, monkeypatch: pytest.MonkeyPatch
):
    write(
        adopted.root,
        {"notebooks/.gitignore": folder.IGNORED, ".dagmar/logs/x": "", ".dagmar/tmp/y": ""},
    )
    commit(adopted.root)
    calls = iter(range(100))
    for name in ("_write", "_delete"):
        real = getattr(leave, name)

        def stopped(*arguments: object, real: object = real) -> object:
            if next(calls) == step:
                raise KeyboardInterrupt
            return real(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(leave, name, stopped)
    with pytest.raises(KeyboardInterrupt):
        go(adopted)
    monkeypatch.undo()
    go(adopted)
    assert changes(adopted, "HEAD~2") == []


def test_a_project_in_a_folder_of_a_repository_is_left_alike(adopted: Project, tmp_path: Path):
    top = tmp_path / "mono"
    (top / "teams").mkdir(parents=True)
    git(top, "init", "-q", "-b", "main")
    write(top / "teams/etl", BEFORE)
    commit(top)
    write(top / "teams/etl", {**ADDED, "pyproject.toml": BEFORE["pyproject.toml"] + WIRING})
    commit(top)
    project = Project(top / "teams/etl")
    go(project)
    assert git(top, "diff", "HEAD~1", "--name-only", "--", ":!*.lock") == ""


PROJECT = '[project]\nname = "etl"\n'
MEMBERS = '[tool.uv.workspace]\nmembers = ["teams/*"]\n'
LOCKED = 'version = 1\n[[package]]\nname = "{}"\n'
# Files of a repository, the adopted folder, and the two files that the adoption changes.
ELSEWHERE = {
    "dg workspace": (
        {"dg.toml": 'directory_type = "workspace"\n'},
        ".", "deployments/local/pyproject.toml", "deployments/local/uv.lock",
    ),
    "uv workspace member": (
        {"pyproject.toml": MEMBERS}, "teams/etl", "teams/etl/pyproject.toml", "uv.lock",
    ),
    "poetry": ({}, ".", "pyproject.toml", "poetry.lock"),
    "pdm": ({}, ".", "pyproject.toml", "pdm.lock"),
    "pipenv": ({}, ".", "Pipfile", "Pipfile.lock"),
}  # fmt: skip


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "locked by the adoption"])
@pytest.mark.parametrize("layout", ELSEWHERE)
def test_the_lock_is_as_before_wherever_its_package_manager_keeps_it(
    layout: str, locked: bool, tmp_path: Path
):
    files, folder_, manifest, lock = ELSEWHERE[layout]
    tool = "" if "uv" in lock or "Pipfile" in lock else f"[tool.{lock.removesuffix('.lock')}]\n"
    git(tmp_path, "init", "-q", "-b", "main")
    before = {**files, manifest: PROJECT + tool, lock: LOCKED.format("dagster")}
    write(tmp_path, before if locked else {name: before[name] for name in before if name != lock})
    commit(tmp_path)
    project = Project(tmp_path / folder_)
    write(project.root, ADDED)
    write(tmp_path, {manifest: PROJECT + tool + WIRING, lock: LOCKED.format("dagmar")})
    commit(tmp_path)
    go(project)
    assert git(tmp_path, "status", "--porcelain") != ""
    git(tmp_path, "add", "-A")
    assert git(tmp_path, "diff", "--cached", "--name-only", "HEAD~1") == ""


OLDER = """\
[project]
name = "etl"
dependencies = [{}"boto3" ]  # ours
{}
[tool.ruff]
"""
SOURCES = '\n[tool.uv.sources]\ndagmar = {{ path = "{}", editable = true }}\n'
GROUP = '\n[dependency-groups]\ndev = [\n    "dagmar[cli]",\n]\n'


def test_what_an_older_version_added_and_an_update_moved_goes(adopted: Project):
    """Before 0.2.0, dagmar was a dependency of what is deployed, and the runner in tools."""
    root = adopted.root
    git(root, "reset", "-q", "--hard", "HEAD~1")
    requirements = "dagster==1.12.13\n"
    write(root, {"pyproject.toml": OLDER.format(" ", ""), "requirements-dev.txt": requirements})
    commit(root)
    start = git(root, "rev-parse", "HEAD").strip()
    older = OLDER.format('\n    "dagmar[cli]",\n    ', "")
    edited = requirements + "-e ./tools/dagmar[cli]\n"
    write(root, {"pyproject.toml": older + SOURCES.format("tools/dagmar")})
    write(root, {".copier-answers.yml": "adopt: true\n", "requirements-dev.txt": edited})
    commit(root)
    newer = OLDER.format("\n    ", "\nversion = 1\n")
    write(root, {**ADDED, "pyproject.toml": newer + SOURCES.format(PLACE) + GROUP})
    commit(root)
    go(adopted)
    git(root, "add", "-A")
    assert git(root, "diff", "--cached", "--name-only", start) == "pyproject.toml\n"
    wanted = OLDER.format(" ", "\nversion = 1\n")  # the team's line, and the array as it was
    assert (root / "pyproject.toml").read_text("utf-8") == wanted


PIXI = '[workspace]\nname = "etl"\n\n[dependencies]\npython = "3.12.*"\n'
RUNNER_IN_PIXI = {
    "as adoption adds it": f'\n[pypi-dependencies.dagmar]\npath = "{PLACE}"\nextras = ["cli"]\n',
    "in a table": f'\n[pypi-dependencies]\ndagmar = {{ path = "{PLACE}", editable = true }}\n',
}


@pytest.mark.parametrize("edited", [False, True], ids=["", "with an edit"])
@pytest.mark.parametrize("added", RUNNER_IN_PIXI)
def test_pixi_files_are_as_before(added: str, edited: bool, tmp_path: Path):
    git(tmp_path, "init", "-q", "-b", "main")
    write(tmp_path, {"pixi.toml": PIXI, "pixi.lock": "version: 6\n"})
    commit(tmp_path)
    wired = PIXI + RUNNER_IN_PIXI[added]
    write(tmp_path, {**ADDED, "pixi.toml": wired, "pixi.lock": "version: 6\n- dagmar\n"})
    commit(tmp_path)
    if edited:
        write(tmp_path, {"pixi.toml": wired.replace("3.12", "3.13") + "\n[tasks]\na = 'b'\n"})
        commit(tmp_path)
    go(Project(tmp_path))
    wanted = PIXI.replace("3.12", "3.13") + "\n[tasks]\na = 'b'\n" if edited else PIXI
    assert (tmp_path / "pixi.toml").read_text("utf-8") == wanted
    assert edited or (tmp_path / "pixi.lock").read_text("utf-8") == "version: 6\n"


def test_a_lock_of_the_workspace_that_is_not_committed_is_not_lost(tmp_path: Path):
    git(tmp_path, "init", "-q", "-b", "main")
    files = {"pyproject.toml": MEMBERS, "uv.lock": LOCKED.format("dagster")}
    write(tmp_path, {**files, "teams/etl/pyproject.toml": PROJECT})
    commit(tmp_path)
    project = Project(tmp_path / "teams/etl")
    wired = {"teams/etl/pyproject.toml": PROJECT + WIRING, "uv.lock": LOCKED.format("dagmar")}
    write(project.root, ADDED)
    write(tmp_path, wired)
    commit(tmp_path)
    write(tmp_path, {"uv.lock": "edited"})
    with pytest.raises(Conflict, match=r"not committed: \.\./\.\./uv\.lock"):
        go(project)
