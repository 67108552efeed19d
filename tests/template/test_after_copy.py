"""The hook after a copy: it makes a first commit where that is its business, and never fails."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagmar.project.templates import write_origin
from support.git import commit, git
from support.template_releases import ROOT, Template, write

HOOK = ROOT / "hooks/after_copy.py"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A rendered project that git does not know yet."""
    write(tmp_path / "project", {"tasks.py": "from dagmar.tasks import namespace\n", "a/b": "b\n"})
    return tmp_path / "project"


def run_hook(here: Path, *args: str, **env: str | None) -> str:
    """Run the hook as Copier does, see that it ends well, and return what it says."""
    wanted = {k: v for k, v in (os.environ | env).items() if v is not None}
    done = subprocess.run(
        [sys.executable, str(HOOK), *(args or ("--fresh",))],
        cwd=here,
        env=wanted,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= (15 if "--adopt" in args else 10)
    return done.stderr


def commits(repository: Path) -> list[str]:
    """List the subjects of all commits."""
    done = subprocess.run(
        ["git", "log", "--all", "--format=%s"], cwd=repository, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def make_repository(path: Path, **files: str) -> None:
    """Make somebody's repository with one commit."""
    write(path, {"theirs.txt": "theirs\n"} | files)
    git(path, "init", "-q")
    git(path, "add", "theirs.txt", *files)
    git(path, "commit", "-qm", "theirs")


def test_a_new_project_gets_a_repository_and_a_commit(here: Path):
    assert run_hook(here) == "Created a git repository with a first commit.\n"
    assert commits(here) == ["chore: start from the dagmar template"]
    assert git(here, "status", "--porcelain") == ""
    assert git(here, "ls-files").split() == ["a/b", "tasks.py"]
    assert git(here, "branch", "--show-current") == "main\n"


def test_the_users_branch_name_is_kept(here: Path, tmp_path: Path):
    write(tmp_path, {"config": "[init]\n\tdefaultBranch = trunk\n"})
    run_hook(here, GIT_CONFIG_GLOBAL=str(tmp_path / "config"))
    assert git(here, "branch", "--show-current") == "trunk\n"


def test_success_is_not_told_when_copier_is_quiet(here: Path):
    assert run_hook(here, "--fresh", "--quiet") == ""


def test_without_git_it_says_what_to_install_and_type(here: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    said = run_hook(here, PATH=str(tmp_path / "empty"))
    assert "git was not found" in said
    assert f"cd {here}\n  git init && git add . && git commit" in said
    assert not (here / ".git").exists()


def test_without_an_identity_it_says_how_to_give_one(here: Path, tmp_path: Path):
    nobody = {
        f"GIT_{role}_{what}": None for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    said = run_hook(here, HOME=str(tmp_path), EMAIL="guessed@example.com", **nobody)
    assert "git config --global user.name" in said
    assert 'git commit -m "chore: start from the dagmar template"' in said
    assert commits(here) == []
    git(here, "commit", "-qm", "as printed")
    assert git(here, "status", "--porcelain") == ""


def test_a_commit_hook_that_fails_is_quoted(here: Path, tmp_path: Path):
    hook = tmp_path / "git-hooks/pre-commit"
    write(tmp_path, {"git-hooks/pre-commit": "#!/bin/sh\necho lint says no >&2\nexit 1\n"})
    hook.chmod(0o755)
    write(tmp_path, {"config": f"[core]\n\thooksPath = {hook.parent}\n"})
    said = run_hook(here, GIT_CONFIG_GLOBAL=str(tmp_path / "config"))
    assert "git refused the first commit:\n  lint says no\n" in said
    assert "git commit -m" in said
    assert commits(here) == []


def test_a_signature_that_fails_is_quoted(here: Path, tmp_path: Path):
    write(tmp_path, {"config": "[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n"})
    said = run_hook(here, GIT_CONFIG_GLOBAL=str(tmp_path / "config"))
    assert "git refused the first commit" in said
    assert "gpg failed to sign" in said
    assert commits(here) == []


def test_a_folder_that_git_cannot_write_is_named(here: Path, tmp_path: Path):
    """A stand-in for git, because the tests may run as root, who can write everywhere."""
    real = git(here, "--exec-path").strip()
    write(
        tmp_path,
        {
            "bin/git": f"""#!/bin/sh
case "$*" in
*init*--quiet*) echo "fatal: cannot mkdir .git: Read-only file system" >&2; exit 128 ;;
*) exec {real}/git "$@" ;;
esac
"""
        },
    )
    (tmp_path / "bin/git").chmod(0o755)
    said = run_hook(here, PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert "Nothing was committed:\n  fatal: cannot mkdir .git: Read-only file system\n" in said
    assert "The project itself is complete." in said


def test_an_unreadable_repository_around_it_is_left_alone(here: Path):
    write(here.parent, {".git": "gitdir: /nowhere/at/all\n"})
    said = run_hook(here)
    assert "Nothing was committed:\n  fatal: not a git repository: /nowhere/at/all" in said
    assert not (here / ".git").exists()


def test_an_existing_repository_gets_no_commit(here: Path):
    make_repository(here)
    said = run_hook(here)
    assert "belongs to a git repository" in said
    assert "git add . && git commit" in said
    assert "git init" not in said
    assert commits(here) == ["theirs"]
    assert git(here, "diff", "--cached", "--name-only") == ""


def test_a_folder_of_a_monorepo_gets_no_repository_of_its_own(here: Path):
    make_repository(here.parent)
    said = run_hook(here)
    assert "belongs to a git repository" in said
    assert not (here / ".git").exists()
    assert commits(here.parent) == ["theirs"]
    assert git(here.parent, "diff", "--cached", "--name-only") == ""


@pytest.mark.parametrize("pattern", ["project/", "/project", "*"])
def test_a_folder_that_the_outer_repository_ignores_gets_its_own(here: Path, pattern: str):
    make_repository(here.parent)
    write(here.parent, {".git/info/exclude": f"{pattern}\n"})
    assert run_hook(here) == "Created a git repository with a first commit.\n"
    assert commits(here) == ["chore: start from the dagmar template"]
    assert commits(here.parent) == ["theirs"]


def test_no_task_is_tried_before_dagmars_tasks_are_there(here: Path):
    call = "from adoption import *; print(*verify(Path(), surveys.survey(Path()), True))"
    said = subprocess.run(
        [sys.executable, "-c", call],
        cwd=here, env=os.environ | {"PYTHONPATH": str(HOOK.parent)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (0, "\n")


def test_a_folder_with_files_of_its_own_is_not_committed(here: Path):
    said = run_hook(here, "--occupied")
    assert "had files before" in said
    assert f"cd {here}\n  git init && git add . && git commit" in said
    assert not (here / ".git").exists()


def test_a_repository_named_in_the_environment_is_not_touched(here: Path, tmp_path: Path):
    """As when Copier runs inside somebody's git hook."""
    make_repository(tmp_path / "other")
    run_hook(here, GIT_DIR=str(tmp_path / "other/.git"), GIT_WORK_TREE=str(tmp_path / "other"))
    assert commits(tmp_path / "other") == ["theirs"]
    assert commits(here) == ["chore: start from the dagmar template"]


def test_a_tasks_file_of_theirs_is_pointed_out(here: Path):
    write(here, {"tasks.py": "# their own\n"})
    said = run_hook(here, "--occupied")
    assert "Your tasks.py was kept" in said
    assert "\ntry:\n    import dagmar.tasks\n\n    ns = dagmar.tasks.namespace(__file__)\n" in said
    (here / "tasks.py").unlink()
    assert "namespace" not in run_hook(here, "--occupied")
    write(here, {"tasks/__init__.py": "# their own\n"})
    assert "Your tasks/__init__.py was kept" in run_hook(here, "--occupied")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a template, with a remote."""
    make_repository(tmp_path / "origin.git")
    git(tmp_path, "clone", "-q", f"file://{tmp_path}/origin.git", "clone")
    return tmp_path / "clone"


def remember(here: Path, source: object, version: str, *args: str) -> tuple[str, str]:
    """Run the hook with answers of this source, and return that in them, and what it says."""
    for name in (".copier-answers.yml", ".dagmar/notebooks/orders.yml"):
        write(here, {name: f"_commit: {version}\n_src_path: {source}\nadopt: false\n"})
    said = run_hook(here, "--fresh", *args)
    assert git(here, "status", "--porcelain") == ""
    answers = [(here / name).read_text() for name in git(here, "ls-files", "*.yml").split()]
    (line,) = {text.splitlines()[1] for text in answers}
    return line.removeprefix("_src_path: "), said


def test_a_copy_from_a_clone_remembers_its_remote_for_colleagues(here: Path, clone: Path):
    version = git(clone, "describe", "--always").strip()
    url = f"file://{clone.parent}/origin.git"
    place, said = remember(here, clone, version)
    assert place == url
    assert f"Updates look for the template at {url}, the remote of {clone}.\n" in said


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://me:secret@git.example.com/dagmar.git", "https://git.example.com/dagmar.git"),
        ("https://secret@git.example.com/dagmar.git", "https://git.example.com/dagmar.git"),
        ("ssh://git@git.example.com:22/dagmar.git", "ssh://git@git.example.com:22/dagmar.git"),
        ("ssh://me:secret@git.example.com/dagmar.git", "ssh://git.example.com/dagmar.git"),
        ("https://git.example.com/dagmar.git?token=secret", "https://git.example.com/dagmar.git"),
    ],
)
def test_credentials_of_the_remote_are_neither_stored_nor_shown(
    here: Path, clone: Path, url: str, stored: str
):
    version = git(clone, "describe", "--always").strip()
    git(clone, "remote", "set-url", "origin", url)
    place, said = remember(here, clone, version)
    assert place == stored
    assert "secret" not in said


def test_a_commit_that_the_remote_does_not_have_leaves_the_folder(here: Path, clone: Path):
    commit(clone)
    place, said = remember(here, clone, git(clone, "describe", "--always").strip())
    assert place == str(clone)
    assert "  invoke update --from URL" in said  # no file says that uv is used


@pytest.mark.parametrize(
    "source",
    ["https://example.com/dagmar.git", "git@example.com:team/dagmar.git", "gh:team/dagmar"],
)
def test_a_url_of_the_template_stays(here: Path, source: str):
    assert remember(here, source, "v1.0.0") == (
        source,
        "Created a git repository with a first commit.\n",
    )


def test_credentials_in_a_url_of_the_template_are_not_committed(here: Path):
    url = "https://git.example.com/dagmar.git"
    place, said = remember(here, url.replace("//", "//me:secret@") + "?token=secret", "v1.0.0")
    assert place == url
    assert f"Updates look for the template at {url}, without the credentials" in said
    assert "secret" not in said + git(here, "log", "--patch")


def test_a_relative_path_of_the_template_is_stored_as_an_absolute_one(
    small: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(small.path, tmp_path / "template")
    monkeypatch.chdir(tmp_path)
    Template(Path("template")).copy(
        tmp_path / "x", skip_tasks=False, unsafe=True, data={"example": False}
    )
    text = (tmp_path / "x/.copier-answers.yml").read_text()
    assert f"_src_path: {tmp_path}/template\n" in text


@pytest.mark.parametrize("place", ["https://x.org/a b.git", "/größe #1/~x", "/a" * 30 + " b" * 30])
def test_a_place_is_written_as_copier_writes_it(place: str, tmp_path: Path):
    """Any other layout of the line would be a conflict in the next update."""
    texts = [
        "# Do not edit.\n"
        + yaml.dump({"_src_path": source, "kind": "project"}, indent=2, allow_unicode=True)
        for source in ("gh:team/dagmar", place)
    ]
    write(tmp_path, {"answers.yml": texts[0]})
    write_origin(tmp_path / "answers.yml", place)
    assert (tmp_path / "answers.yml").read_text("utf-8") == texts[1]


ADOPT = ("--occupied", "--adopt", "--print", "--package=", "--to=.")
ADDED = {
    name: (ROOT / f"template/project/{name}").read_text()
    for name in (".dagmar/.gitignore", "dagmar.yaml", "tasks.py")
}


def test_a_lock_that_git_ignores_is_not_added(here: Path):
    make_repository(here, **{".gitignore": "uv.lock\n", "pyproject.toml": "[project]\n"})
    write(here, {**ADDED, "uv.lock": "", ".copier-answers.yml": ""})
    assert "git add .copier-answers.yml .dagmar dagmar.yaml tasks.py pyproject.toml &&" in run_hook(
        here, *ADOPT
    )


@pytest.mark.parametrize(
    ("file", "declared"),
    [
        ("{0}/{0}.py", '[tool.dagster]\nmodule_name = "{0}"\n'),
        ("{0}/definitions.py", "[project]\n"),
    ],
)
def test_a_monorepo_with_two_projects_in_a_locked_environment(here: Path, file: str, declared: str):
    code = "from dagster import Definitions\ndefs = Definitions()\n"
    texts = {f"{name}/pyproject.toml": declared.format(name) for name in ("etl", "ml")}
    texts |= {file.format(name): code for name in ("etl", "ml")}
    make_repository(here, **texts, **{"pyproject.toml": "[project]\n", "uv.lock": ""})
    write(here, {**ADDED, ".copier-answers.yml": ""})
    said = run_hook(here, *ADOPT, UV_FROZEN="1")
    assert "warning: etl and ml are separate projects." in said
    assert "  env -u UV_FROZEN uv add --dev --no-workspace" in said
    assert "# UV_FROZEN would keep uv from it" in said
    assert "uv.lock && git commit" in said


def test_an_adopted_repository_is_shown_its_own_commands(here: Path, tmp_path: Path):
    started = {"Makefile": "dev:\n\tdagster dev -f etl/main.py\n", "etl/main.py": "defs = 1\n"}
    flake8 = {".flake8": "[flake8]\nexclude = build\n"}
    make_repository(here, **started, **flake8, **{"requirements.txt": "dagster==1.12.13\n"})
    more = {"venv/bin/python": "", "theirs.txt": "changed\n", ".copier-answers.yml": ""}
    write(here, {**ADDED, **more})
    said = run_hook(here, *ADOPT, VIRTUAL_ENV=None, CONDA_PREFIX=None)
    assert "Definitions: etl/main.py (Makefile)" in said
    assert "changes of yours that are not committed" in said
    assert " dagster-webserver==1.12.13 >> requirements-dev.txt" in said
    assert "pip install -r requirements-dev.txt" in said
    assert said.count("source venv/bin/activate") == 1
    write(tmp_path, {"conda/bin/python": ""})  # it has no such script, and is active
    conda = str(tmp_path / "conda")
    assert "activate" not in run_hook(here, *ADOPT, VIRTUAL_ENV=None, CONDA_PREFIX=conda)
    assert (
        "git add .copier-answers.yml .dagmar dagmar.yaml tasks.py requirements-dev.txt .flake8"
        " && git" in said
    )
    assert "git init" not in said
    settings = (here / "dagmar.yaml").read_text()
    assert settings.endswith("dagster: # Makefile\n  load_from:\n  - python_file: etl/main.py\n")
    run_hook(here, *ADOPT)
    assert (here / "dagmar.yaml").read_text() == settings


def test_a_member_of_a_uv_workspace_with_a_package_of_tasks_can_be_committed_as_shown(here: Path):
    above = '[project]\nname = "all"\n[tool.uv.workspace]\nmembers = ["etl"]\n'
    project = {"pyproject.toml": '[project]\nname = "etl"\n[tool.dagster]\nmodule_name = "etl"\n'}
    make_repository(here, **{"pyproject.toml": above, "uv.lock": ""})
    write(
        here / "etl",
        {**ADDED, **project, "tasks/__init__.py": "# dagmar\n", ".copier-answers.yml": ""},
    )
    (here / "etl/tasks.py").unlink()
    said = run_hook(here / "etl", *ADOPT)
    tasks = "dagmar.yaml tasks/__init__.py pyproject.toml"
    commit = f"git add .copier-answers.yml .dagmar {tasks} ../uv.lock && git"
    assert commit in said
    write(here, {".gitignore": "*.lock\n", "etl/dagmar/__init__.py": ""})
    git(here, "rm", "-q", "--cached", "uv.lock")
    assert "rm -r .copier-answers.yml .dagmar dagmar.yaml\n" in run_hook(here / "etl", *ADOPT)
    shutil.rmtree(here / "etl/dagmar")
    assert f"{tasks} && git commit" in run_hook(here / "etl", *ADOPT)


def test_without_git_or_definitions_an_adoption_says_what_to_type(here: Path, tmp_path: Path):
    write(here, {**ADDED, "dg.toml": 'directory_type = "workspace"\n[workspace]\n'})
    said = run_hook(here, *ADOPT, PATH=str(tmp_path))
    assert "Definitions: none yet (dg.toml)\n" in said
    assert "pip install -r requirements-dev.txt" in said
    assert "git init && git add . && git commit -m 'chore: add dagmar'" in said


def test_a_package_called_dagmar_stops_an_adoption(here: Path):
    write(here, {**ADDED, "src/dagmar/__init__.py": "", ".copier-answers.yml": ""})
    said = run_hook(here, *ADOPT)
    assert "this repository has a package called dagmar (src/dagmar)" in said
    assert "pip install" not in said
    remove = "rm -r .copier-answers.yml .dagmar dagmar.yaml tasks.py"
    assert f": {remove}" in said
    assert f": cd 'the etl' && {remove}" in run_hook(here, *ADOPT[:-1], "--to=the etl")


def test_what_is_left_of_an_installation_is_typed_in_the_folder(here: Path):
    write(here, {**ADDED, "requirements.txt": "dagster\n"})
    args = ("--occupied", "--adopt", "--install", "--package=", "--to=etl")
    said = run_hook(here, *args, VIRTUAL_ENV=None, CONDA_PREFIX=None)
    assert "This is left to type:\n  cd etl\n  " in said


@pytest.mark.parametrize(("before", "after"), [("copy", "package"), ("package", "copy")])
def test_a_second_copy_with_another_runner_names_the_update(here: Path, before: str, after: str):
    answers = ".copier-answers.yml"
    make_repository(here, **{answers: f"_src_path: gh:x/y\nrunner: {before}\n"})
    assert "only an update" not in run_hook(here, *ADOPT)
    write(here, {answers: f"_src_path: gh:x/y\nrunner: {after}\n"})
    for mode in (ADOPT, ("--occupied", "--next=x is ready.")):
        said = run_hook(here, *mode)
        assert said.endswith(f"stash --include-untracked\n  invoke update --runner {after}\n")
        assert "dagmar was added" not in said


def test_a_failure_asks_for_no_second_repository(here: Path):
    make_repository(here, **{"pyproject.toml": "[tool.ruff.lint]\nselect = 1\n"})
    write(here, {**ADDED, ".copier-answers.yml": ""})
    said = run_hook(here, *ADOPT)
    assert "what to type next could not be found out:\n  TypeError: " in said
    assert "git init" not in said


PATTERNS = (".*", ".dagmar/", ".dagmar/*", "*\n!*.txt", "dagmar.yaml")
IN_CI = {(".*", ".gitignore"), ("*\n!*.txt", ".git/info/exclude")}
IGNORED = [
    pytest.param(*case, marks=() if case in IN_CI else pytest.mark.nightly)
    for case in itertools.product(PATTERNS, (".gitignore", ".git/info/exclude"))
]


@pytest.mark.parametrize(("pattern", "place"), IGNORED)
def test_what_git_ignores_is_taken_back_as_shown(here: Path, pattern: str, place: str):
    make_repository(here, **{"requirements.txt": "dagster\n", "requirements-dev.txt": "x\n"})
    kept = [
        ".dagmar/.eggs/.gitignore",
        ".dagmar/.eggs/dagmar/runs/a.json",
        ".dagmar/.gitattributes",
    ]
    eggs = (ROOT / "template/project/.dagmar/.eggs/.gitignore").read_text()
    write(here, {**ADDED, **dict.fromkeys(kept, eggs), ".copier-answers.yml": "", place: pattern})
    if place == ".gitignore":
        git(here, "add", "-f", place)
    write(here, {".dagmar/dagster_home/storage/x": "", ".dagmar/.eggs/dagmar/__pycache__/x": ""})
    said = run_hook(here, *ADOPT, VIRTUAL_ENV=None)
    back, add = (line.strip() for line in said.splitlines() if ">> .gitignore" in line
                 or " git commit " in line)  # fmt: skip
    for command in (back.partition("  #")[0], add):
        subprocess.run(command, shell=True, cwd=here, check=True, capture_output=True)
    names = git(here, "ls-files", ".dagmar").split()
    assert names == [*sorted([*kept, ".dagmar/.gitignore"])]
    assert {"dagmar.yaml", "tasks.py", ".copier-answers.yml"} <= {*git(here, "ls-files").split()}
    assert ">> .gitignore" not in run_hook(here, *ADOPT)


def test_what_an_earlier_call_has_changed_is_not_a_change_of_the_users(here: Path):
    make_repository(here, **{"requirements.txt": "dagster\n", "etl.py": "x = 1\n"})
    write(here, {**ADDED, ".copier-answers.yml": "", "__pycache__/etl.pyc": ""})
    write(here, {"requirements-dev.txt": "-e ./.dagmar/.eggs/dagmar[cli]\n"})
    here.joinpath("a/b").unlink()
    assert "not committed" not in run_hook(here, *ADOPT)
    write(here, {"etl.py": "x = 2\n"})
    assert "not committed" in run_hook(here, *ADOPT)


def test_a_person_is_told_what_to_type_when_copier_is_quiet(here: Path):
    said = run_hook(here, "--fresh", "--quiet", "--next=x is ready. Next:\n  uv sync\n")
    assert said == "x is ready. Next:\n  uv sync\n"
