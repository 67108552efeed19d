"""`invoke doctor`: what makes each check fail, what repairs it, and that nothing stops the rest."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from dagmar.dev import environment
from dagmar.errors import UsageError
from dagmar.orchestration.probe import find_broken
from dagmar.upkeep import checking, doctor
from dagmar.upkeep.checking import FAIL, PASS, SKIP, WARN, Check, Finding, Project, check
from dagmar.upkeep.checks import CHECKS, instance, notebooks
from dagmar.upkeep.oldkeys import find_old_keys, rename
from support import forked
from support.catalog_answers import by_repository
from support.certificates import make_authority
from support.git import commit, git
from support.http_server import (
    Answer,
    closed_port,
    dagster,
    hang_up,
    page,
    redirect,
    serve,
    silence,
)

BY_NAME = {one.name: one for one in CHECKS}
Break = Callable[[Project], "Project | None"]


@dataclass(frozen=True)
class Case:
    """How to break a project, and what the check says then.

    The command in the hint, and in the next one where that is not enough, typed in a shell, makes
    the check content again, but for `ONLY_A_PERSON`; `by_hand` is what the hint says to do first.
    """

    check: str
    do: Break
    status: str
    says: str
    by_hand: Break | None = None


CASES: dict[str, Case] = {}
# What no command repairs, or none here: something is installed, corrected, found out or decided.
ONLY_A_PERSON = {
    # installed: these projects are broken by a pretence, or have nothing that uv could install
    *("an_old_python", "a_python_that_the_project_excludes", "another_environment"),
    *("a_missing_package", "an_old_dagster", "an_old_copier", "packages_of_two_releases"),
    *("an_untested_python", "an_untested_marimo", "an_untested_dagster"),
    *("no_webserver", "a_dagmar_from_elsewhere", "a_package_of_another_version"),
    *("a_lock_file_without_uv", "no_git", "an_old_git"),
    # found out, and then decided
    *("a_folder_that_is_not_ours_to_write", "a_home_that_is_not_ours_to_write", "a_full_disk"),
    *("a_rule_that_ignores_answers", "answers_without_a_version"),
    "a_template_whose_address_has_a_password",
    "a_version_that_the_template_lacks",
    # corrected in a file
    *("settings_that_are_no_yaml", "settings_that_cannot_be_read", "an_unknown_key"),
    *("a_target_that_is_not_there", "a_relative_home_in_dotenv", "no_module_is_named"),
    *("a_home_with_a_broken_configuration", "a_module_that_is_not_there"),
    *("a_context_that_is_text", "a_notebook_that_is_no_python", "definitions_that_are_no_python"),
    *("a_file_that_is_no_toml", "a_file_that_is_no_yaml", "a_project_of_dg_without_a_module"),
    *("a_variable_that_is_set_where_dagster_runs", "definitions_that_a_server_loads"),
    "a_notebook_with_its_own_environment",
}


def breaks(
    check: str, status: str, says: str, by_hand: Break | None = None
) -> Callable[[Break], Break]:
    def decorate(do: Break) -> Break:
        CASES[do.__name__] = Case(check, do, status, says, by_hand)
        return do

    return decorate


def write(project: Project, name: str, text: str) -> Path:
    file = project.root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def environ(project: Project, **more: str) -> Project:
    return replace(project, environ={**project.environ, **more})


def versions(project: Project, **others: str | None) -> Project:
    named = {name.replace("_", "-"): version for name, version in others.items()}
    return replace(
        project, version=lambda name: named[name] if name in named else project.version(name)
    )


@breaks("python", FAIL, "this is Python 3.9.18, and the project needs >=3.10,<3.15")
def an_old_python(project: Project) -> Project:
    return replace(project, python=(3, 9, 18))


@breaks("python", FAIL, "this is Python 3.15.0")
def a_python_that_the_project_excludes(project: Project) -> Project:
    return replace(project, python=(3, 15, 0))


@breaks("python", WARN, "dagmar is not tested with Python 3.15.0")
def an_untested_python(project: Project) -> Project:
    file = project.root / "pyproject.toml"
    text = file.read_text("utf-8")
    write(project, file.name, text.replace("requires-python", "# requires-python"))
    return replace(project, python=(3, 15, 0))


@breaks("environment", WARN, "not the one in .venv")
def another_environment(project: Project) -> None:
    (project.root / ".venv").mkdir()


@breaks("packages", FAIL, "marimo is not installed")
def a_missing_package(project: Project) -> Project:
    return versions(project, marimo=None)


@breaks("packages", FAIL, "dagster is 1.9.3, and must be >=1.10")
def an_old_dagster(project: Project) -> Project:
    return versions(project, dagster="1.9.3")


@breaks("packages", FAIL, "copier is 9.18.0, and must be >=9.19")
def an_old_copier(project: Project) -> Project:
    return versions(project, copier="9.18.0")


@breaks("packages", WARN, "dagmar is not tested with marimo 99.1.0")
def an_untested_marimo(project: Project) -> Project:
    return versions(project, marimo="99.1.0")


@breaks("packages", WARN, "dagmar is not tested with Dagster 1.99.0")
def an_untested_dagster(project: Project) -> Project:
    return versions(project, dagster="1.99.0")


@breaks("dagster-versions", FAIL, ", 1.10.0 is installed")
def packages_of_two_releases(project: Project) -> Project:
    return versions(project, dagster="1.10.0")


@breaks("dagster-versions", WARN, "dagster-webserver is not installed")
def no_webserver(project: Project) -> Project:
    return versions(project, dagster_webserver=None)


@breaks("runner", WARN, "not from .dagmar/.eggs/dagmar")
def a_dagmar_from_elsewhere(project: Project) -> None:
    (project.root / ".dagmar/.eggs/dagmar").mkdir(parents=True)


@breaks("runner", WARN, "and the template of this project is 1.0.0")
def a_package_of_another_version(project: Project) -> None:
    text = (project.root / ".copier-answers.yml").read_text()
    write(project, ".copier-answers.yml", f"{text}runner: package\n")


@breaks("uv", WARN, "the project has a uv.lock, but uv was not found")
def a_lock_file_without_uv(project: Project) -> Project:
    write(project, "uv.lock", "")
    return environ(project, PATH=str(project.root))


@breaks("permissions", FAIL, "notebooks is a file, and must be a folder")
def a_file_in_place_of_a_folder(project: Project) -> None:
    (project.root / "notebooks").rename(project.root / "books")
    write(project, "notebooks", "")


@breaks("permissions", FAIL, "cannot be written to")
def a_folder_that_is_not_ours_to_write(project: Project) -> None:
    write(project, "dagmar.yaml", "notebooks: /proc/self\n")


@breaks("disk", WARN, "0.1 GB free")
def a_full_disk(project: Project) -> Project:
    project.environ = {**project.environ, "free": "100000000"}
    return project


@breaks("git", FAIL, "git was not found")
def no_git(project: Project) -> Project:
    return environ(project, PATH="")


@breaks("git", FAIL, "too old: Copier needs 2.27")
def an_old_git(project: Project) -> Project:
    return stub_git(project, "echo git version 2.20.1")


def stub_git(project: Project, script: str) -> Project:
    """Put another git before the real one."""
    file = write(project, ".dagmar/tmp/bin/git", f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return environ(project, PATH=f"{file.parent}{os.pathsep}{project.environ['PATH']}")


@breaks("git-identity", WARN, "git does not know your name")
def nobody_commits(project: Project) -> Project:
    return environ(project, **{f"GIT_{role}_EMAIL": "" for role in ("AUTHOR", "COMMITTER")})


def test_committed_is_said_only_of_what_git_was_not_told_to_hide(sound: Project) -> None:
    git(sound.root, "config", "status.showUntrackedFiles", "no")
    assert BY_NAME["repository"](sound).message == "everything is committed"
    write(sound, ".git/info/exclude", "/docs/\n")
    write(sound, "docs/local.md", "mine\n")
    git(sound.root, "update-index", "--assume-unchanged", "tasks.py")
    write(sound, "tasks.py", "mine\n")
    found = BY_NAME["repository"](sound)
    assert found.status == PASS
    assert found.message.endswith("configured not to show: docs/local.md, tasks.py")
    write(sound, "notes.txt", "mine\n")
    found = BY_NAME["repository"](sound)
    assert (found.status, found.message) == (
        WARN,
        "not committed, so an update would refuse: notes.txt",
    )


@breaks("repository", WARN, "the project is not in git")
def no_repository(project: Project) -> None:
    (project.root / ".git").rename(project.root.parent / "gone")


@breaks("repository", WARN, "nothing is committed yet")
def no_commit(project: Project) -> None:
    (project.root / ".git").rename(project.root.parent / "gone")
    git(project.root, "init", "-q")


@breaks("repository", WARN, "not committed, so an update would refuse: dagmar.yaml")
def a_change(project: Project) -> None:
    write(project, "dagmar.yaml", "target: local\n")


def keep_our_side(project: Project) -> None:
    write(project, "dagmar.yaml", "{}\n")
    write(project, "tasks.py", "two\n")


@breaks(
    "conflicts", FAIL, "conflicts of an update are left in dagmar.yaml", by_hand=keep_our_side,
)  # fmt: skip
def marks_of_a_conflict(project: Project) -> None:
    write(project, "dagmar.yaml", "<<<<<<< before updating\na: 1\n=======\n>>>>>>> after\n")


@breaks("conflicts", FAIL, "tasks.py", by_hand=keep_our_side)
def a_merge_that_is_not_finished(project: Project) -> None:
    git(project.root, "checkout", "-q", "-b", "other")
    write(project, "tasks.py", "one\n")
    commit(project.root)
    git(project.root, "checkout", "-q", "main")
    write(project, "tasks.py", "two\n")
    commit(project.root)
    with pytest.raises(subprocess.CalledProcessError):
        git(project.root, "merge", "other")


@breaks("conflicts", FAIL, "left in tasks.py.rej")
def a_patch_that_did_not_fit(project: Project) -> None:
    write(project, "tasks.py.rej", "@@ -1 +1 @@\n-one\n+two\n")


@breaks("conflicts", FAIL, "left in dagmar.yaml, tasks.py.rej", by_hand=keep_our_side)
def marks_and_a_patch_that_did_not_fit(project: Project) -> None:
    marks_of_a_conflict(project)
    a_patch_that_did_not_fit(project)


@breaks("answers", FAIL, "there is no .copier-answers.yml")
def no_answers(project: Project) -> None:
    (project.root / ".copier-answers.yml").unlink()


@breaks("answers", FAIL, ".copier-answers.yml cannot be read")
def answers_that_are_no_yaml(project: Project) -> None:
    write(project, ".copier-answers.yml", "a: [\n")


@breaks("answers", FAIL, ".dagmar/notebooks/orders.yml cannot be read")
def answers_of_a_notebook_that_are_no_yaml(project: Project) -> None:
    write(project, ".dagmar/notebooks/orders.yml", "a: [\n")
    git(project.root, "add", "-A")


@breaks(
    "answers",
    FAIL,
    "_src_path is a relative path in .copier-answers.yml, .dagmar/notebooks",
)
def a_relative_template(project: Project) -> None:
    here = project.root.parent / "template"
    here.mkdir()
    (here / "copier.yml").write_text("{}\n")
    for name in (".copier-answers.yml", ".dagmar/notebooks/orders.yml"):
        text = (project.root / name).read_text()
        write(project, name, re.sub("_src_path: .*", "_src_path: ../template", text))


@breaks("answers", WARN, "_src_path has a login, a query or a fragment in .copier-answers.yml")
def a_template_whose_address_has_a_password(project: Project) -> None:
    text = (project.root / ".copier-answers.yml").read_text()
    address = "_src_path: https://me:s3cret@git.invalid/x.git?token=s3cret#s3cret"
    write(project, ".copier-answers.yml", re.sub("_src_path: .*", address, text))


@breaks("answers", FAIL, "it has no versions")
def answers_without_a_version(project: Project) -> None:
    text = (project.root / ".copier-answers.yml").read_text()
    write(project, ".copier-answers.yml", text.replace("_commit: v1.0.0\n", ""))


@breaks("template", WARN, "the template has no version v9.9.9")
def a_version_that_the_template_lacks(project: Project) -> None:
    text = (project.root / ".copier-answers.yml").read_text()
    write(project, ".copier-answers.yml", text.replace("v1.0.0", "v9.9.9"))


@breaks("ignored", WARN, "git ignores .dagmar/notebooks")
def a_rule_that_ignores_answers(project: Project) -> None:
    write(project, ".gitignore", ".dagmar/\n__marimo__/\n")


@breaks("ignored", WARN, "git does not ignore .dagmar/logs")
def no_rule_for_logs(project: Project) -> None:
    write(project, ".dagmar/.gitignore", "/cache/")
    write(project, ".dagmar/logs/dagster.log", "")


@breaks("ignored", WARN, "git does not ignore __marimo__/")
def no_rule_for_marimo(project: Project) -> None:
    (project.root / "notebooks/.gitignore").unlink()


@breaks("secrets", FAIL, "git keeps .env: whoever reads")
def a_secret_in_git(project: Project) -> None:
    write(project, ".env", "TOKEN=s3cret\n")
    git(project.root, "add", "--force", ".env")


@breaks("secrets", WARN, "git does not ignore .env")
def a_secret_that_git_would_keep(project: Project) -> None:
    write(project, ".gitignore", "__marimo__/")
    write(project, ".env", "TOKEN=s3cret\n")


@breaks("settings", FAIL, "dagmar.yaml:2: this is not valid YAML")
def settings_that_are_no_yaml(project: Project) -> None:
    write(project, "dagmar.yaml", "targets:\n  local: {url: [s3cret\n")


@breaks("settings", FAIL, "dagmar.yaml cannot be read")
def settings_that_cannot_be_read(project: Project) -> None:
    (project.root / "dagmar.yaml").unlink()
    (project.root / "dagmar.yaml").mkdir()


@breaks("settings", FAIL, "unknown key 'targett'")
def an_unknown_key(project: Project) -> None:
    write(project, "dagmar.yaml", "targett: local\n")


@breaks("settings", FAIL, "dagmar.yaml:2: 'run.poll-seconds' is now called 'poll_seconds'")
def an_old_key(project: Project) -> None:
    write(project, "dagmar.yaml", "run:\n  poll-seconds: 1 # slowly\n")


@breaks("targets", FAIL, "names an environment variable that is not set")
def a_variable_of_the_target_in_use(project: Project) -> None:
    auth = "auth: {type: bearer, token_env: PROD_TOKEN}"
    write(project, "dagmar.yaml", f"targets: {{local: {{{auth}}}}}\n")


@breaks("targets", WARN, "targets.prod.auth.token_env names an environment variable")
def a_variable_of_another_target(project: Project) -> None:
    prod = "{url: 'https://x.test', auth: {type: bearer, token_env: PROD_TOKEN}}"
    write(project, "dagmar.yaml", f"targets: {{prod: {prod}}}\n")


@breaks("targets", FAIL, "'target' names no target of the settings")
def a_target_that_is_not_there(project: Project) -> None:
    write(project, "dagmar.yaml", "target: prdo\ntargets: {prod: {}}\n")


@breaks("dagster-home", FAIL, "DAGSTER_HOME is a relative path (home)")
def a_relative_home(project: Project) -> Project:
    (project.root / "home").mkdir()
    return environ(project, DAGSTER_HOME="home")


@breaks("dagster-home", FAIL, "which does not exist")
def a_home_that_does_not_exist(project: Project) -> Project:
    return environ(project, DAGSTER_HOME=str(project.root.parent / "no home"))


@breaks("dagster-home", FAIL, "DAGSTER_HOME is a relative path (home)")
def a_relative_home_in_dotenv(project: Project) -> None:
    write(project, ".env", "DAGSTER_HOME=home\n")


@breaks("dagster-home", FAIL, "which does not exist")
def a_home_in_dotenv_that_does_not_exist(project: Project) -> None:
    write(project, ".env", f"DAGSTER_HOME='{project.root.parent / 'my home'}'\n")


@breaks("dagster-home", WARN, "there is no .dagmar/dagster_home")
def no_home(project: Project) -> None:
    (project.root / ".dagmar/dagster_home").rename(project.root.parent / "gone")


@breaks("dagster-home", WARN, "there is no .dagmar/dagster_home/dagster.yaml")
def a_home_without_configuration(project: Project) -> None:
    (project.root / ".dagmar/dagster_home/dagster.yaml").unlink()


@breaks("dagster-home", WARN, "there is no .dagmar/dagster_home")
def no_home_that_was_ever_committed(project: Project) -> None:
    git(project.root, "rm", "-q", "-r", ".dagmar/dagster_home")
    commit(project.root)


@breaks("dagster-home", WARN, "there is no .dagmar/dagster_home/dagster.yaml")
def a_home_without_configuration_that_was_ever_committed(project: Project) -> None:
    no_home_that_was_ever_committed(project)
    (project.root / ".dagmar/dagster_home").mkdir()


@breaks("dagster-home", WARN, "my home/dagster.yaml: Dagster sends usage data")
def no_configuration_anywhere(project: Project) -> None:
    no_home_that_was_ever_committed(project)
    a_home_in_dotenv_that_does_not_exist(project)
    (project.root.parent / "my home").mkdir()


@breaks("dagster-home", FAIL, "dagster.yaml cannot be read")
def a_home_with_a_broken_configuration(project: Project) -> None:
    write(project, ".dagmar/dagster_home/dagster.yaml", "a: [\n")


@breaks("dagster-home", FAIL, "/proc/self cannot be written to")
def a_home_that_is_not_ours_to_write(project: Project) -> Project:
    return environ(project, DAGSTER_HOME="/proc/self")


@breaks("temporary-instances", WARN, "left .tmp_dagster_home_abc")
def dagster_without_a_home(project: Project) -> None:
    (project.root / ".tmp_dagster_home_abc").mkdir()


@breaks("dev-file", WARN, "is left from a process that has ended")
def a_file_of_a_process_that_is_gone(project: Project) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write(project, ".dagmar/tmp/dev.json", json.dumps({"pid": gone.pid})).chmod(0o600)


@breaks("dev-file", WARN, "is left from a process that has ended")
def a_file_older_than_the_process_of_that_number(project: Project) -> None:
    document = {"pid": os.getpid(), "started_at": "2001-01-01T00:00:00+00:00"}
    write(project, ".dagmar/tmp/dev.json", json.dumps(document)).chmod(0o600)


@breaks("dev-file", WARN, "others may read .dagmar/tmp/dev.json")
def a_file_that_others_may_read(project: Project) -> None:
    write(project, ".dagmar/tmp/dev.json", json.dumps({"pid": os.getpid()})).chmod(0o644)


@breaks("definitions", WARN, "no file says where the definitions are")
def no_module_is_named(project: Project) -> None:
    write(project, "pyproject.toml", "")


@breaks("definitions", FAIL, "pyproject.toml names shopp.definitions")
def a_module_that_is_not_there(project: Project) -> None:
    write(project, "pyproject.toml", '[tool.dg.project]\nroot_module = "shopp"\n')


@breaks("definitions", FAIL, "pyproject.toml is not valid TOML: ")
def a_file_that_is_no_toml(project: Project) -> None:
    write(project, "pyproject.toml", "[tool")


@breaks("definitions", FAIL, "workspace.yaml is not valid YAML: ")
def a_file_that_is_no_yaml(project: Project) -> None:
    write(project, "pyproject.toml", "")
    write(project, "workspace.yaml", "load_from: [")


@breaks("definitions", FAIL, "pyproject.toml does not set root_module")
def a_project_of_dg_without_a_module(project: Project) -> None:
    write(project, "pyproject.toml", "[tool.dg.project]\n")


@breaks("definitions", WARN, "needs the environment variable SHOP_MODULE, which is not set")
def a_variable_that_is_set_where_dagster_runs(project: Project) -> None:
    write(project, "pyproject.toml", "")
    write(project, "workspace.yaml", "load_from: [{python_module: {env: SHOP_MODULE}}]")


@breaks("definitions", WARN, "names only gRPC servers")
def definitions_that_a_server_loads(project: Project) -> None:
    write(project, "pyproject.toml", "")
    write(project, "workspace.yaml", "load_from: [{grpc_server: {host: x.test, port: 4000}}]")


@breaks(
    "definitions",
    FAIL,
    "'shop' does not load: SyntaxError: invalid syntax (src/shop/defs/assets.py, line 1)",
)
def definitions_that_are_no_python(project: Project) -> Project:
    write(project, "src/shop/defs/assets.py", "def (:\n")
    write(project, "elsewhere.py", "def (:\n")
    return replace(project, find_broken=find_broken)


LAZY_CONTEXT = """\
from __future__ import annotations

import dagster as dg


@dg.asset
def orders(context: dg.AssetExecutionContext) -> None: ...
"""


@breaks("annotations", FAIL, "the annotation of context at src/shop/defs/assets.py:7")
def a_context_that_is_text(project: Project) -> None:
    write(project, "src/shop/defs/assets.py", LAZY_CONTEXT)


@breaks("notebooks", FAIL, "orders.py is not valid Python: invalid syntax, line 10")
def a_notebook_that_is_no_python(project: Project) -> None:
    text = (project.root / "notebooks/orders.py").read_text()
    write(project, "notebooks/orders.py", f"{text}def (:\n")


@breaks("notebook-answers", FAIL, ".dagmar/notebooks/orders.yml is not an answers file")
def answers_of_a_notebook_that_are_none(project: Project) -> None:
    write(project, ".dagmar/notebooks/orders.yml", "- x\n")


@breaks("notebook-answers", FAIL, "orders.yml names no notebook")
def answers_of_no_notebook(project: Project) -> None:
    write(project, ".dagmar/notebooks/orders.yml", "_src_path: x\nnotebooks: [1]\n")


@breaks("notebook-places", FAIL, "Dagster imports, and so runs, the notebook")
def a_notebook_among_the_definitions(project: Project) -> None:
    write(project, "src/shop/defs/report.py", "import marimo\n\napp = marimo.App()\n")
    git(project.root, "add", "src")


@breaks("notebook-places", FAIL, "Dagster imports, and so runs, the notebook")
def a_new_notebook_among_the_definitions(project: Project) -> None:
    write(project, "src/shop/defs/my report.py", "import marimo\n\napp = marimo.App()\n")


@breaks("notebook-environments", WARN, "has a `# /// script` block")
def a_notebook_with_its_own_environment(project: Project) -> None:
    text = (project.root / "notebooks/orders.py").read_text()
    write(project, "notebooks/orders.py", f"# /// script\n# dependencies = []\n# ///\n{text}")


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_told_with_what_mends_it(
    name: str, sound: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = CASES[name]
    # What `git config --global` writes, where git reads it.
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    look = BY_NAME[case.check]
    assert look(sound).status in (PASS, SKIP), look(sound)
    sound.facts.clear()
    broken = case.do(sound) or sound
    broken.facts.clear()
    for variable, text in broken.environ.items():
        if text or variable == "PATH":
            monkeypatch.setenv(variable, text)
        else:
            monkeypatch.delenv(variable)
    if "free" in broken.environ:
        usage = type("usage", (), {"free": int(broken.environ["free"])})
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = look(broken)
    assert (found.status, case.says in found.message) == (case.status, True), found
    assert found.hint.rstrip(".") or found.command
    assert "s3cret" not in found.message + found.hint + found.command
    if case.by_hand:
        case.by_hand(broken)
    commands: list[str] = []
    while found.status not in (PASS, SKIP) and len(commands) < 2 and name not in ONLY_A_PERSON:
        commands.append(found.command)
        # The other repairs, and the process that loads the definitions, would only take time.
        command = (
            f"{found.command} --only {case.check}" if "--fix" in found.command else found.command
        )
        broken, output = in_a_shell(command, broken, tmp_path)
        found = look(broken)
        assert found.command not in commands, (found, output)
    assert (found.status in (PASS, SKIP)) is (name not in ONLY_A_PERSON), (commands, found)


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("/nowhere/template", "/nowhere/template, which only an update needs, is not on"),
        ("../nowhere", "../nowhere, which only an update needs, is not on"),
        ("https://me:s3cret@git.invalid/x.git", "https://git.invalid/x.git is remote"),
    ],
)
def test_a_template_that_is_out_of_reach_is_only_a_note(
    sound: Project, origin: str, says: str
) -> None:
    text = (sound.root / ".copier-answers.yml").read_text()
    write(sound, ".copier-answers.yml", re.sub("_src_path: .*", f"_src_path: {origin}", text))
    found = BY_NAME["template"](sound)
    assert (found.status, says in found.message) == (SKIP, True), found
    assert "s3cret" not in found.message
    assert BY_NAME["answers"](sound).status == (WARN if "s3cret" in origin else PASS)


def in_a_shell(command: str, project: Project, tmp_path: Path) -> tuple[Project, str]:
    """Run a command in a shell; return the project as the next command finds it."""
    done = subprocess.run(
        ["bash", "-c", f"{command}\nenv -0 > $VARIABLES"], cwd=project.root, input="y\n",
        env={
            **{name: text for name, text in os.environ.items() if name != "VISUAL"},
            **{name: text for name, text in project.environ.items() if text or name == "PATH"},
            "GIT_EDITOR": "true", "VARIABLES": str(tmp_path / "variables"),
        },
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    # What the shell exports, the next command has.
    shell = (tmp_path / "variables").read_text().rstrip("\0").split("\0")
    exported = dict(line.split("=", 1) for line in shell)
    return replace(project, environ=exported, facts={}), f"{command}\n{done.stdout}{done.stderr}"


WORKSPACE: dict[str, Any] = {
    "version": "1.13.27",
    "workspaceOrError": {
        "__typename": "Workspace",
        "locationEntries": [
            {
                "name": "shop",
                "loadStatus": "LOADED",
                "updatedTimestamp": 1.0,
                "locationOrLoadError": {
                    "__typename": "RepositoryLocation",
                    "repositories": [{"name": "__repository__"}],
                },
            }
        ],
    },
}
LAUNCHING = {"permission": "launch_pipeline_execution", "value": True, "disabledReason": None}
DAEMON = {"daemonType": "QUEUED_RUN_COORDINATOR", "required": True, "healthy": True}
NIGHTLY = {
    "name": "nightly", "description": None, "asset_job": True, "tags": [], "schedules": [],
    "sensors": [],
}  # fmt: skip
REPOSITORY = {
    "name": "__repository__", "location": {"name": "shop"}, "jobs": [NIGHTLY], "schedules": [],
    "sensors": [], "resources": [],
}  # fmt: skip


def healthy(home: Path) -> dict[str, dict[str, Any]]:
    """Return what a Dagster answers to which every check agrees."""
    info = f"local_artifact_storage:\n  config:\n    base_dir: {home}\n"
    return {
        "Workspace": json.loads(json.dumps(WORKSPACE)),
        "Daemons": {"instance": {"daemonHealth": {"allDaemonStatuses": [{**DAEMON}]}}},
        "QueuedRuns": {"runsOrError": {"__typename": "Runs", "results": []}},
        "Permissions": {"permissions": [{**LAUNCHING}]},
        "InstanceInfo": {"instance": {"info": info}},
        "AssetKeys": by_repository(
            {
                "key": {"path": ["raw", "orders"]},
                "materializable": True,
                "repository": {"location": {"name": "shop"}},
            }
        ),
        "Repositories": {
            "repositoriesOrError": {"__typename": "RepositoryConnection", "nodes": [REPOSITORY]}
        },
    }


Answers = dict[str, dict[str, Any]]
ONLINE: dict[str, tuple[str, str, str, Callable[[Answers], None]]] = {}


def answers(check: str, status: str, says: str) -> Callable[[Callable[[Answers], None]], None]:
    def decorate(do: Callable[[Answers], None]) -> None:
        ONLINE[do.__name__] = (check, status, says, do)

    return decorate


@answers("server", FAIL, "is 1.9.13, and dagmar needs 1.10")
def an_old_server(answers: Answers) -> None:
    answers["Workspace"]["version"] = "1.9.13"


@answers("server", WARN, "is 1.12.1, and 1.13")
def a_server_of_another_release(answers: Answers) -> None:
    answers["Workspace"]["version"] = "1.12.1"


@answers("code-locations", FAIL, "'shop' does not load: ImportError: no module x")
def a_location_that_does_not_load(answers: Answers) -> None:
    (entry,) = answers["Workspace"]["workspaceOrError"]["locationEntries"]
    entry["locationOrLoadError"] = {
        "__typename": "PythonError", "className": "ImportError", "message": "no module x\nmore",
        "stack": [], "errorChain": [],
    }  # fmt: skip


@pytest.mark.usefixtures("patient")
def test_a_location_that_does_not_load_is_told_with_the_place(sound: Project) -> None:
    answers = healthy(home_of(sound))
    (entry,) = answers["Workspace"]["workspaceOrError"]["locationEntries"]
    file = sound.root.resolve() / "src/shop/assets.py"
    message = f'  File "{file}", line 4\n    def x(:\n          ^\nSyntaxError: invalid syntax\n'
    entry["locationOrLoadError"] = {
        "__typename": "PythonError", "className": "SyntaxError", "message": message,
        "stack": [], "errorChain": [],
    }  # fmt: skip
    answers["AssetKeys"] = by_repository()
    with serve(dagster(answers)) as server:
        aim(sound, server.url)
        found, hidden = BY_NAME["code-locations"](sound), BY_NAME["pairs"](sound)
    reason = "SyntaxError: invalid syntax (src/shop/assets.py, line 4)"
    assert found.status == FAIL
    assert found.message == f"the code location 'shop' does not load: {reason}"
    # It may define what the notebook is paired with.
    assert (hidden.status, "see 'code-locations'" in hidden.message) == (SKIP, True)


@answers("code-locations", WARN, "still loading: shop")
def a_location_that_is_loading(answers: Answers) -> None:
    (entry,) = answers["Workspace"]["workspaceOrError"]["locationEntries"]
    entry |= {"loadStatus": "LOADING", "locationOrLoadError": None}


@answers("code-locations", WARN, "Dagster knows no code location")
def no_location(answers: Answers) -> None:
    answers["Workspace"]["workspaceOrError"]["locationEntries"] = []


@answers("daemon", WARN, "not running: queued_run_coordinator")
def no_daemon(answers: Answers) -> None:
    answers["Daemons"]["instance"]["daemonHealth"]["allDaemonStatuses"][0]["healthy"] = False


@answers("daemon", FAIL, "1 run in the queue will wait forever")
def no_daemon_for_a_queue(answers: Answers) -> None:
    no_daemon_at_all(answers)
    answers["QueuedRuns"]["runsOrError"]["results"] = [{"runId": "1"}]


def no_daemon_at_all(answers: Answers) -> None:
    answers["Daemons"]["instance"]["daemonHealth"]["allDaemonStatuses"][0]["healthy"] = False


@answers("launching", WARN, "is read-only for you: Disabled by your administrator")
def a_server_that_is_read_only(answers: Answers) -> None:
    reason = "Disabled by your administrator"
    answers["Permissions"]["permissions"][0] |= {"value": False, "disabledReason": reason}


def test_a_server_that_answers_slowly_is_a_warning(
    sound: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.upkeep.checks.server.SLOW_SECONDS", 0)
    with serve(dagster(healthy(home_of(sound)))) as server:
        found = BY_NAME["latency"](aim(sound, server.url))
    assert (found.status, found.hint[:7]) == (WARN, "Look at")
    assert " ms for a small query, the median of 5" in found.message


@answers("same-instance", WARN, "Dagster keeps its runs in /elsewhere, and notebooks look in ")
def a_server_with_another_home(answers: Answers) -> None:
    info = "local_artifact_storage: {config: {base_dir: /elsewhere}}"
    answers["InstanceInfo"]["instance"]["info"] = info


@answers("pairs", FAIL, "Dagster has no asset raw/orders (notebooks/orders.py)")
def an_asset_that_is_gone(answers: Answers) -> None:
    answers["AssetKeys"] = by_repository()


@answers("pairs", FAIL, "Dagster has no job nightly (notebooks/orders.py)")
def a_job_that_is_gone(answers: Answers) -> None:
    answers["Repositories"]["repositoriesOrError"]["nodes"] = []


ONLINE_CHECKS = [one.name for one in CHECKS if one.online]


def aim(project: Project, url: str, more: str = "") -> Project:
    """Let the project's target be at `url`."""
    write(project, "dagmar.yaml", f"targets: {{local: {{url: '{url}'{more}}}}}\n")
    project.facts.clear()
    return project


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a server that answers however busy the machine is."""
    monkeypatch.setattr(checking, "CONNECT_SECONDS", 60.0)
    monkeypatch.setattr(checking, "READ_SECONDS", 60.0)


def home_of(project: Project) -> Path:
    return project.root / ".dagmar/dagster_home"


@pytest.mark.usefixtures("patient")
def test_a_healthy_server_is_found_well(sound: Project) -> None:
    with serve(dagster(healthy(home_of(sound)))) as server:
        aim(sound, server.url)
        found = {name: BY_NAME[name](sound) for name in [*ONLINE_CHECKS, "ports"]}
    assert {one.status for one in found.values()} == {PASS}, found
    assert found["pairs"].message == "1 asset, 1 job"


@pytest.mark.usefixtures("patient")
def test_a_job_may_be_named_with_its_code_location(sound: Project) -> None:
    file = sound.root / "notebooks/orders.py"
    text = file.read_text("utf-8")
    with serve(dagster(healthy(home_of(sound)))) as server:
        for location, status in (("shop", PASS), ("elsewhere", FAIL)):
            file.write_text(text.replace('job="nightly"', f'job="nightly@{location}"'), "utf-8")
            assert BY_NAME["pairs"](aim(sound, server.url)).status == status


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", ONLINE)
def test_what_is_wrong_with_a_server_is_told(name: str, sound: Project) -> None:
    look, status, says, do = ONLINE[name]
    answers = healthy(home_of(sound))
    do(answers)
    with serve(dagster(answers)) as server:
        found = BY_NAME[look](aim(sound, server.url))
    assert (found.status, says in found.message) == (status, True), found
    assert found.hint or found.command


LOGIN = ", auth: {type: bearer, token_env: TOKEN}"
REFUSALS: dict[str, tuple[Answer, str, str]] = {
    "a login page": (page(), "this looks like a login page", "Check targets.local.auth"),
    "a redirect": (redirect("https://login.test/"), "this looks like a login page", "auth"),
    "a login that is refused": (page(401), "needs a login, or refuses", "targets.local.auth"),
    "a proxy without a server": (page(502), "cannot reach Dagster (502)", "Wait for Dagster"),
    "another program": (page(404), "but not as Dagster does", "path prefix"),
    "a connection that breaks": (hang_up, "did not answer", "Is it running?"),
}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_refuses_is_a_failure_and_the_rest_is_skipped(
    name: str, sound: Project
) -> None:
    answer, says, hint = REFUSALS[name]
    sound.environ = {**sound.environ, "TOKEN": "s3cret"}
    with serve(answer) as server:
        aim(sound, server.url, LOGIN)
        found = {one: BY_NAME[one](sound) for one in ONLINE_CHECKS}
    first = found.pop("server")
    assert first.status == FAIL
    assert says in first.message
    assert hint in first.hint
    assert "s3cret" not in str(first)
    assert {one.status for one in found.values()} == {SKIP}, found


@pytest.mark.usefixtures("patient")
def test_a_certificate_that_nobody_knows_is_told(sound: Project, tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "tls")
    handler = dagster(healthy(home_of(sound)))
    with serve(handler, tls=authority.server_context()) as server:
        found = BY_NAME["server"](aim(sound, server.url))
        assert (found.status, "certificate" in found.message) == (FAIL, True)
        assert "targets.local.ca_file" in found.hint
        assert (
            BY_NAME["server"](aim(sound, server.url, f", ca_file: {authority.ca}")).status == PASS
        )


def test_no_server_here_is_no_failure_and_one_elsewhere_is(sound: Project) -> None:
    holder, url = closed_port()
    with holder:
        found = BY_NAME["server"](aim(sound, url))
        assert (found.status, found.message) == (WARN, f"Dagster did not answer at {url}")
        assert BY_NAME["code-locations"](sound).status == SKIP
    aim(sound, "http://nowhere.invalid")
    assert BY_NAME["server"](sound).status == FAIL


def test_a_server_that_hangs_is_asked_once_with_short_limits(sound: Project) -> None:
    with serve(silence) as server:
        aim(sound, server.url, ", connect_timeout: 60, read_timeout: 600")
        assert sound.target.timeouts == (checking.CONNECT_SECONDS, checking.READ_SECONDS)
        found = {one: BY_NAME[one](sound) for one in ONLINE_CHECKS}
        assert "did not answer within 2 s" in found.pop("server").message
        assert {one.status for one in found.values()} == {SKIP}
        assert len(server.seen) == 1
    assert checking.CONNECT_SECONDS + checking.READ_SECONDS < doctor.ONLINE_SECONDS < 5


def test_a_short_limit_of_the_settings_stays(sound: Project) -> None:
    aim(sound, "http://127.0.0.1:9", ", connect_timeout: 0.5, read_timeout: 0.7")
    assert sound.target.timeouts == (0.5, 0.7)


def test_a_port_that_another_program_has_taken_is_told_with_its_name(sound: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = BY_NAME["ports"](aim(sound, f"http://127.0.0.1:{port}"))
    assert found.status == WARN
    assert f"{port}, which Dagster wants, is taken by another program" in found.message
    assert f"process {os.getpid()}" in found.message


def test_a_port_of_this_projects_invoke_dev_is_no_trouble(sound: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        for document in ({"pid": os.getpid()}, {"pid": os.getppid(), "dagster_url": url}):
            write(sound, ".dagmar/tmp/dev.json", json.dumps(document))
            assert f"{port}, which" not in BY_NAME["ports"](aim(sound, url)).message
        (sound.root / ".dagmar/tmp/dev.json").unlink()
        assert f"{port}, which" in BY_NAME["ports"](aim(sound, url)).message


@pytest.mark.parametrize(
    ("upload", "status", "says"),
    [
        ("reports", PASS, "a folder"),
        ("dagmar.yaml/reports", FAIL, "is a file, and must be a folder"),
        ("s3://bucket/reports", FAIL, "s3:// needs s3fs"),
        ("gs://bucket/reports", WARN, "no credentials for gs:// were found"),
        ("az://bucket/reports", PASS, "adlfs, and credentials"),
        ("ftp://host/reports", SKIP, "ftp:// cannot be checked"),
    ],
)
def test_an_upload_needs_its_package_and_credentials(
    upload: str, status: str, says: str, sound: Project
) -> None:
    settings = sound.settings
    settings.layer.values["export"] = {"upload": upload}
    project = versions(sound, s3fs=None, gcsfs="1", adlfs="1")
    project.environ = {**project.environ, "AZURE_CLIENT_ID": "x"}
    found = BY_NAME["storage"](project)
    assert (found.status, says in found.message) == (status, True), found


def test_without_an_upload_no_storage_is_looked_at(sound: Project) -> None:
    assert BY_NAME["storage"](sound).status == SKIP


def test_every_check_has_a_test_that_makes_it_fail() -> None:
    broken = {case.check for case in CASES.values()} | {case[0] for case in ONLINE.values()}
    assert CASES.keys() >= ONLY_A_PERSON
    assert {one.name for one in CHECKS} - broken == {"latency", "ports", "storage"}  # above
    assert len({one.name for one in CHECKS}) == len(CHECKS)
    assert all(one.about.endswith(".") for one in CHECKS)


def test_a_check_that_crashes_is_a_failure_of_that_check_alone(sound: Project) -> None:
    @check("crash")
    def crash(project: Project) -> Finding:
        """It crashes."""
        raise KeyError("a\nb")

    @check("library")
    def library(project: Project) -> Finding:
        """It needs what is not there."""
        import no_such_library  # type: ignore[import-not-found]  # noqa: F401

        raise AssertionError

    results = doctor.examine(sound, [crash, library, BY_NAME["disk"]])
    first, second, third = (result.finding for result in results)
    assert (first.status, first.message[:33]) == (
        FAIL,
        "this check crashed: KeyError: 'a\\",
    )
    assert (second.status, second.message) == (FAIL, "no_such_library is not installed")
    assert second.command == "uv sync"
    assert third.status in (PASS, WARN)


def test_a_check_that_waits_for_ever_is_left_behind(
    sound: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    go_on = threading.Event()

    def wait(project: Project) -> Finding:
        go_on.wait(60)
        return Finding(PASS, "")

    monkeypatch.setattr(doctor, "ONLINE_SECONDS", 0.1)
    (result,) = doctor.examine(sound, [Check("wait", "", wait, online=True)])
    assert not go_on.is_set()
    go_on.set()
    assert (result.finding.status, result.finding.message) == (
        FAIL,
        "there was no answer within 0.1 s",
    )


def test_the_doctor_ends_in_time_where_git_hangs(
    sound: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, url = closed_port()
    with holder:
        aim(sound, url)
        doctor.examine(sound, CHECKS)  # imports what checks need
        broken = stub_git(sound, f"echo $1 >> {sound.root.parent}/calls; exec sleep 60")
        broken.facts.clear()
        monkeypatch.setenv("PATH", broken.environ["PATH"])
        # All calls of git are waited for together, not one after the other.
        monkeypatch.setattr(checking, "GIT_SECONDS", 6.0)
        began = time.monotonic()
        results = doctor.examine(broken, CHECKS)
        assert time.monotonic() - began < 2 * checking.GIT_SECONDS
    late = f"did not end within {checking.GIT_SECONDS:g} s"
    found = {result.check.name for result in results if late in result.finding.message}
    assert {"git", "git-identity", "repository"} <= found


def test_git_that_hangs_is_not_waited_for(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "GIT_SECONDS", 0.2)
    broken = stub_git(sound, "exec sleep 60")
    monkeypatch.setenv("PATH", broken.environ["PATH"])
    found = BY_NAME["git"](broken)
    assert (found.status, found.message) == (FAIL, "`git --version` did not end within 0.2 s")


def test_what_a_package_of_dagster_requires_decides_which_versions_fit(
    sound: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster 1.10.17 requires dagster-shared 0.26.17: not every package has the same number."""
    requires = {
        "dagster": ["dagster-pipes==1.10.17", "dagster-shared==0.26.17", "psutil>=1"],
        "dagster-webserver": ["dagster==1.10.17", "dagster-graphql==1.10.17; extra == 'notebook'"],
        "dagster-etl": ["dagster>=1.9"],
    }
    for name, lines in requires.items():
        folder = tmp_path / f"{name.replace('-', '_')}-1.dist-info"
        folder.mkdir()
        text = "".join(f"Requires-Dist: {line}\n" for line in lines)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{text}")
    monkeypatch.setattr(
        sys, "path", [str(tmp_path), *(p for p in sys.path if "-packages" not in p)]
    )
    right = {"dagster": "1.10.17", "dagster_shared": "0.26.17", "dagster_pipes": "1.10.17",
             "dagster_webserver": "1.10.17", "dagster_dg_cli": "0.26.17"}  # fmt: skip
    look = BY_NAME["dagster-versions"]
    assert look(versions(sound, **right)).status == PASS
    found = look(versions(sound, **{**right, "dagster_shared": "0.26.16", "dagster_pipes": None}))
    assert (found.status, found.command) == (FAIL, "uv sync")
    assert "dagster needs dagster-shared==0.26.17, 0.26.16 is installed" in found.message
    assert "dagster needs dagster-pipes==1.10.17, which is not installed" in found.message
    (sound.root / "pyproject.toml").unlink()
    found = look(versions(sound, **{**right, "dagster_shared": "0.26.16"}))
    assert found.command == "uv pip install dagster==1.10.17 dagster-shared"
    found = look(versions(sound, **{**right, "dagster_webserver": None}))
    assert found.command.endswith("dagster-webserver==1.10.17")  # or it would move Dagster


@pytest.mark.parametrize("name", [".env.EXAMPLE", ".env.Sample", ".env.dist"])
def test_an_example_of_an_env_file_is_not_a_secret(name: str, sound: Project) -> None:
    write(sound, name, "TOKEN=\n")
    git(sound.root, "add", "--force", name)
    assert BY_NAME["secrets"](sound).status == PASS


def test_a_running_dev_on_other_ports_wants_no_more(sound: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        target = f"http://127.0.0.1:{own.getsockname()[1]}"
        document = {"pid": os.getpid(), "dagster_url": target, "marimo_url": target}
        write(sound, ".dagmar/tmp/dev.json", json.dumps(document))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(instance.PORTS, "marimo", port)
            patch.setitem(instance.PORTS, "Dagster", port)
            assert BY_NAME["ports"](sound).status == PASS
            (sound.root / ".dagmar/tmp/dev.json").unlink()
            assert f"{port}, which marimo wants" in BY_NAME["ports"](sound).message


def test_marimo_s_files_are_ignored_by_a_file_beside_the_notebooks(sound: Project) -> None:
    (sound.root / "notebooks/.gitignore").unlink()
    assert BY_NAME["ignored"](sound).command == "echo __marimo__/ >> notebooks/.gitignore"
    write(sound, "notebooks/.gitignore", "__marimo__/\n")
    assert BY_NAME["ignored"](sound).status == PASS
    (sound.root / "notebooks/.gitignore").unlink()
    (sound.root / "notebooks/orders.py").unlink()
    assert BY_NAME["ignored"](sound).status == PASS  # there is nothing to save yet


def test_a_notebook_in_a_folder_called_defs_is_harmless_without_dg(sound: Project) -> None:
    a_new_notebook_among_the_definitions(sound)
    assert BY_NAME["notebook-places"](sound).status == FAIL
    write(sound, "pyproject.toml", '[tool.dagster]\nmodule_name = "shop"\n')
    assert BY_NAME["notebook-places"](sound).status == SKIP


def test_only_makes_these_checks_and_an_unknown_one_is_wrong_usage() -> None:
    assert [one.name for one in doctor.choose(["git", "disk"])] == ["disk", "git"]
    with pytest.raises(UsageError, match="did you mean 'daemon'"):
        doctor.choose(["deamon"])


def call(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call `invoke` in the project as its user would."""
    return forked.invoke(arguments, project.root, project.environ, timeout=120)


def test_a_sound_project_is_status_0_and_a_warning_is_no_failure(sound: Project) -> None:
    holder, url = closed_port()
    with holder:
        aim(sound, url)
        commit(sound.root)
        done = call(sound, "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert [one["name"] for one in document["checks"]] == [one.name for one in CHECKS]
    assert {"name", "status", "message", "hint"} == set(document["checks"][0])
    assert {one["name"]: one["status"] for one in document["checks"]}["server"] == WARN


def test_a_failure_is_status_3_with_what_to_type(sound: Project) -> None:
    write(sound, ".copier-answers.yml", "a: [\n")
    done = call(sound, "doctor", "--only", "answers", "--only", "git")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "git"], ["FAIL", "answers"]]
    assert lines[2].strip() == "→ Type: git checkout HEAD -- .copier-answers.yml"
    assert "error: 1 check failed: answers" in done.stderr


def test_git_is_only_offered_for_answers_that_it_has(sound: Project) -> None:
    for name in ("orders.yml", "new.yml"):
        write(sound, f".dagmar/notebooks/{name}", "a: [\n")
        done = call(sound, "doctor", "--only", "notebook-answers")
        assert done.returncode == 3
        (sound.root / ".dagmar/notebooks" / name).unlink()
        if name == "orders.yml":
            assert "→ Type: git checkout HEAD -- .dagmar/notebooks/orders.yml" in done.stdout
        else:
            assert "git checkout" not in done.stdout
            assert "→ Git has no copy of it: remove it, then scaffold the notebook" in done.stdout


def test_a_project_with_everything_broken_is_told_to_the_end(sound: Project) -> None:
    for name in (".git", ".dagmar/notebooks", "src"):
        (sound.root / name).rename(sound.root.parent / f"gone-{Path(name).name}")
    for name in ("pyproject.toml", "notebooks/orders.py", ".copier-answers.yml"):
        (sound.root / name).write_bytes(b"import marimo \xff\x00 (")
    (sound.root / "dagmar.yaml").unlink()
    (sound.root / "dagmar.yaml").mkdir()
    done = call(sound, "doctor", "--json")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert len(checks) == len(CHECKS)
    failed = {name for name, one in checks.items() if one["status"] == FAIL}
    assert failed == {"answers", "definitions", "settings", "notebooks"}
    assert not [one for one in checks.values() if "this check crashed" in one["message"]]


WITHOUT = """
import sys
for name in "yaml requests psutil packaging fastjsonschema dotenv rich marimo".split():
    sys.modules[name] = None
from invoke.main import program
program.run(["invoke", "doctor", "--json"])
"""


def test_it_runs_where_packages_are_missing(sound: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=sound.root, env={**os.environ, **sound.environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert len(checks) == len(CHECKS)
    assert checks["settings"]["message"] == "yaml is not installed"
    assert checks["packages"]["message"] == "packaging is not installed"
    assert checks["packages"]["hint"] == "Type: uv sync"
    assert not [one for one in checks.values() if "this check crashed" in one["message"]], checks


def test_dagster_refuses_what_the_check_finds(sound: Project) -> None:
    from dagster import DagsterInvalidDefinitionError

    with pytest.raises(DagsterInvalidDefinitionError, match="context"):
        exec(compile(LAZY_CONTEXT, "assets.py", "exec"), {"__name__": "assets"})


def test_list_names_every_check_and_makes_none(sound: Project) -> None:
    done = call(sound, "doctor", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [one.name for one in CHECKS]
    done = call(sound, "doctor", "--list", "--json")
    assert json.loads(done.stdout)["checks"][0]["about"] == CHECKS[0].about


@pytest.mark.parametrize(
    "flags", [["--only"], ["--only", "deamon"], ["--list", "--fix"], ["--fix", "--only"]]
)
def test_wrong_usage_of_the_doctor_is_status_2(flags: list[str], sound: Project) -> None:
    done = call(sound, "doctor", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--list" in done.stderr or "--only" in done.stderr


SETTINGS = """\
# Ours. Keep this.
target:   local   # the one we use

Targets:
    local: {url: 'http://127.0.0.1:9', read-only: true}   # nobody
    # old: {}
run: {"pollSeconds": 0.70}\r
"""


def test_fix_renames_old_keys_and_leaves_every_other_byte(sound: Project) -> None:
    file = sound.root / "dagmar.yaml"
    file.write_bytes(SETTINGS.encode())
    file.chmod(0o640)
    done = call(sound, "doctor", "--fix", "--only", "settings")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Repaired: renamed in dagmar.yaml: Targets → targets" in done.stderr
    after = SETTINGS.replace("Targets:", "targets:").replace("read-only", "read_only")
    assert file.read_bytes().decode() == after.replace('"pollSeconds"', "poll_seconds")
    assert file.stat().st_mode & 0o777 == 0o640
    again = call(sound, "doctor", "--fix", "--only", "settings")
    assert "There was nothing that can be repaired safely." in again.stderr


def test_fix_makes_the_instance_that_invoke_dev_would_make(sound: Project) -> None:
    no_home_that_was_ever_committed(sound)
    done = call(sound, "doctor", "--fix", "--only", "dagster-home")
    assert "Repaired: created .dagmar/dagster_home/dagster.yaml." in done.stderr
    assert (home_of(sound) / "dagster.yaml").read_text("utf-8") == environment.INSTANCE.read_text(
        "utf-8"
    )


def test_fix_makes_no_instance_where_git_has_one_or_dotenv_names_another(sound: Project) -> None:
    def named_elsewhere(project: Project) -> None:
        git(project.root, "rm", "-q", "-r", ".dagmar/dagster_home")
        commit(project.root)
        a_home_in_dotenv_that_does_not_exist(project)

    for do in (no_home, named_elsewhere):
        do(sound)
        done = call(sound, "doctor", "--fix", "--only", "dagster-home")
        assert "There was nothing that can be repaired safely." in done.stderr
        assert not home_of(sound).exists()


@pytest.mark.usefixtures("patient")
def test_a_home_in_dotenv_is_where_notebooks_look(sound: Project, tmp_path: Path) -> None:
    write(sound, ".env", f"DAGSTER_HOME={tmp_path}\n")
    with serve(dagster(healthy(tmp_path))) as server:
        assert BY_NAME["same-instance"](aim(sound, server.url)).status == PASS
        # Dagster reads .env over its environment.
        assert BY_NAME["same-instance"](environ(sound, DAGSTER_HOME="/else")).status == PASS
        (sound.root / ".env").unlink()
        assert BY_NAME["same-instance"](environ(sound, DAGSTER_HOME="/else")).status == WARN


def test_outside_git_what_lies_in_environments_hides_nothing(
    sound: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks, "MOST_FILES", 10)
    no_repository(sound)
    for folder in (".venv/lib", "my-env/lib"):
        for number in range(10):
            write(sound, f"{folder}/{number}.py", LAZY_CONTEXT)
    write(sound, "my-env/pyvenv.cfg", "")
    assert BY_NAME["annotations"](sound).status == PASS
    a_context_that_is_text(sound)
    a_new_notebook_among_the_definitions(sound)
    assert "src/shop/defs/assets.py:7" in BY_NAME["annotations"](sound).message
    assert "my report.py" in BY_NAME["notebook-places"](sound).message


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [(">=3.12,<3.14", ">=3.12,<3.14"), (">=3.8", ">=3.8,>=3.10"), ("?", ">=3.10")],
)
def test_a_python_to_install_is_one_that_the_project_asks_for(
    wanted: str, fits: str, sound: Project
) -> None:
    write(sound, "pyproject.toml", f'[project]\nname = "x"\nrequires-python = "{wanted}"\n')
    found = BY_NAME["python"](an_old_python(sound))
    assert found.command == f"uv sync --python '{fits}'"


def test_fix_does_nothing_that_is_not_safe(sound: Project) -> None:
    write(sound, ".env", "TOKEN=x\n")
    git(sound.root, "add", "--force", ".env")
    write(sound, "dagmar.yaml", "targett: local\n")
    done = call(sound, "doctor", "--fix", "--only", "secrets", "--only", "settings")
    assert done.returncode == 3
    assert git(sound.root, "ls-files", ".env") == ".env\n"
    assert (sound.root / "dagmar.yaml").read_text() == "targett: local\n"


def test_a_repair_that_crashes_is_said_and_the_rest_goes_on(
    sound: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(project: Project) -> str:
        raise ValueError("too bad")

    bad = Finding(FAIL, "bad")
    one = Check("one", "", lambda _: bad, fix=fail)
    two = Check("two", "", lambda _: bad, fix=lambda _: "did two")
    well = Check("well", "", lambda _: Finding(PASS, ""), fix=fail)
    done = doctor.repair(sound, doctor.examine(sound, [one, two, well]))
    assert done == ["did two"]
    assert capsys.readouterr().err == "warning: 'one' could not be repaired: too bad\n"


SCHEMA = {
    "properties": {
        "run": {"properties": {"wait": {"formerly": ["patience"]}, "poll_seconds": {}}},
        "targets": {"additionalProperties": {"properties": {"url": {"formerly": ["address"]}}}},
    }
}


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("run: {patience: 1}", "run: {wait: 1}"),
        ("targets:\n  a: {address: x}", "targets:\n  a: {url: x}"),
        ("targets: {Run: {address: x}}", "targets: {Run: {url: x}}"),
        ("run: {patience: 1, wait: 2}", "run: {patience: 1, wait: 2}"),
        ("run: {poll-seconds: 1, pollSeconds: 2}", "run: {poll-seconds: 1, pollSeconds: 2}"),
        ("run: [patience]\nother: {patience: 1}", "run: [patience]\nother: {patience: 1}"),
        ("é: ü # ö\nRUN: {patience: 'ß'}", "é: ü # ö\nrun: {wait: 'ß'}"),
        ("a: [", "a: ["),
    ],
)
def test_the_table_of_old_keys_stands_in_the_schema(text: str, after: str) -> None:
    fastjsonschema.compile(SCHEMA)({})  # which ignores our own keywords
    assert rename(text, find_old_keys(text, SCHEMA)) == after
