"""What a hint says to type works in the layout in which it is shown."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.probe import Broken
from dagmar.project.installing import add_command, installed_version, sync_command
from dagmar.project.locations import Workspace, check_command, read_workspace, uses_dg
from dagmar.upkeep.checking import Finding, Project
from dagmar.upkeep.checks import CHECKS
from dagmar.upkeep.checks.notebooks import definitions
from support.layouts import GUESSED, LAYOUTS

EVERY = LAYOUTS | GUESSED | {"nothing": {}}
IN_CI = ("src",)
# Their tool needs the project, or the package, to be installed.
INSTALLED = ("nothing", "dg project", "dg project with another module", "dg workspace",
             "workspace.yaml python_package")  # fmt: skip
TRIED = [
    pytest.param(name, marks=() if name in IN_CI else pytest.mark.nightly, id=name)
    for name in EVERY
    if name not in INSTALLED
]


def write(root: Path, layout: str) -> Path:
    for name, text in EVERY[layout].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def shell(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Type a command in the folder of the project, in this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, shell=True, cwd=root, env={**os.environ, "PATH": path}, capture_output=True,
        text=True,
    )  # fmt: skip


def places(workspace: Workspace) -> set[tuple[str, str, Path]]:
    return {(place.kind, place.target, place.working_directory) for place in workspace.locations}


@pytest.mark.parametrize("layout", GUESSED)
def test_what_was_guessed_is_declared_by_the_command_of_the_hint(
    layout: str, tmp_path: Path
) -> None:
    root = write(tmp_path, layout)
    before = read_workspace(root)
    assert before.guessed
    project = Project(root, {}, find_broken=lambda *_: Broken({}))
    assert shell(root, definitions(project).command).returncode == 0
    after = read_workspace(root)
    assert (after.guessed, places(after)) == (False, places(before))


@pytest.mark.parametrize("layout", TRIED)
def test_the_command_that_checks_the_definitions_loads_them(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("DAGSTER_HOME", "")
    root = write(tmp_path / "my project", layout)
    if (found := read_workspace(root)).guessed:
        assert shell(root, found.declare_command).returncode == 0
    failures: dict[str, object] = {}
    assert list(definitions_of(root).each(failures))  # type: ignore[arg-type]
    assert failures == {}
    done = shell(root, check_command(root))
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]


def test_paths_with_a_space_are_quoted_in_commands(tmp_path: Path) -> None:
    root = write(tmp_path / "my project", "one file")
    words = ["dagster", "definitions", "validate", "-f", str(root / "definitions.py")]
    assert shlex.split(check_command(root)) == [*words, "-d", str(root)]
    settings = "notebooks: my notebooks\nexport: {upload: a file/x}\n"
    (root / "dagmar.yaml").write_text(settings, "utf-8")
    for name in ("my notebooks", "a file"):
        (root / name).write_text("", "utf-8")
    commands = [each.command for each in findings(root)]
    assert "rm -i 'my notebooks'" in commands
    assert f"ls -l {shlex.quote(str(root / 'a file'))}" in commands


def findings(root: Path, version: Callable[[str], str | None] = lambda _: None) -> list[Finding]:
    """Return what every check says that needs no server; versions are pretended."""
    project = Project(root, dict(os.environ), version, find_broken=lambda *_: Broken({}))
    return [check(project) for check in CHECKS if not check.online]


@pytest.mark.parametrize("layout", EVERY)
def test_no_hint_names_a_tool_that_refuses_the_layout(layout: str, tmp_path: Path) -> None:
    root = write(tmp_path, layout)
    project = Project(root, dict(os.environ), find_broken=lambda *_: Broken({}))
    needed = ("dagster-webserver", "dagster-dg-cli")
    found = [
        *findings(root),
        *findings(root, lambda name: None if name in needed else installed_version(name)),
        *findings(root, lambda name: "1.12.0" if name in needed else installed_version(name)),
        *findings(root, lambda name: "1.12.0" if name == "dagster" else installed_version(name)),
    ]
    commands = {each.command for each in found} | {project.check_command, project.install}
    managed = "[project]" in EVERY[layout].get("pyproject.toml", "")
    for command in commands:
        assert managed or not command.startswith(("uv sync", "uv add")), command
        assert uses_dg(root) or not command.startswith("dg "), command
    (missing,) = [each for each in found if "`invoke dev` cannot start" in each.message]
    assert ("dagster-dg-cli" in missing.command) == uses_dg(root)


@pytest.mark.parametrize("layout", EVERY)
def test_a_requirement_is_added_by_a_tool_that_accepts_the_layout(
    layout: str, tmp_path: Path
) -> None:
    root = write(tmp_path, layout)
    # Only the file is changed; the rest of the command needs a network. Without a file, uv would
    # look for one in the folders above, and change that.
    there = (root / "pyproject.toml").exists()
    command = add_command("vl-convert-python", root=root)
    accepted = there and shell(root, "uv add --frozen vl-convert-python").returncode == 0
    assert command.startswith("uv add" if accepted else "uv pip install")
    assert sync_command(root).startswith("uv sync" if accepted else "uv pip install")


def test_without_uv_the_installer_is_pip(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("dagster\n")
    (tmp_path / "setup.py").write_text("")
    (tmp_path / ".dagmar/.eggs/dagmar").mkdir(parents=True)
    nowhere = {"PATH": str(tmp_path)}
    expected = 'pip install -e ".dagmar/.eggs/dagmar[cli]" -r requirements.txt -e .'
    assert sync_command(tmp_path, nowhere) == expected
    assert add_command("s3fs>=1", root=tmp_path, environ=nowhere) == "pip install 's3fs>=1'"
