"""What to type to install packages: uv manages a project with a `[project]` table, pip the others.

`uv sync` and `uv add` refuse a folder without that table, as a project with only a workspace.yaml.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.project.layout import RUNNER, find_root
from dagmar.project.locations import read_toml


def sync_command(root: Path | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the command that installs what a project needs; of the working directory's by default.

    `environ` says where programs are.
    """
    root = root or _here()
    if _is_managed(root, environ):
        return "uv sync"
    parts = [f'-e "{RUNNER.as_posix()}[cli]"'] if (root / RUNNER).is_dir() else []
    if (root / "requirements.txt").is_file():
        parts.append("-r requirements.txt")
    if _tables(root) & {"project", "build-system"} or (root / "setup.py").is_file():
        parts.append("-e .")
    return f"{_pip(environ)} {' '.join(parts or ['marimo', 'dagster-webserver'])}"


def add_command(
    *requirements: str,
    root: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    dev: bool = False,
) -> str:
    """Return the command that adds requirements to a project."""
    words = shlex.join(requirements)
    if _is_managed(root or _here(), environ):
        return f"uv add {'--dev ' if dev else ''}{words}"
    return f"{_pip(environ)} {words}"


def _here() -> Path:
    try:
        return find_root(Path.cwd())
    except SetupError:
        return Path.cwd()


def _is_managed(root: Path, environ: Mapping[str, str]) -> bool:
    known = (root / "uv.lock").exists() or _which_uv(environ)
    return bool(known) and "project" in _tables(root)


def _which_uv(environ: Mapping[str, str]) -> str | None:
    return shutil.which("uv", path=environ.get("PATH"))


def _pip(environ: Mapping[str, str]) -> str:
    """Return the installer; an environment that uv created has no pip."""
    return "uv pip install" if _which_uv(environ) else "pip install"


def _tables(root: Path) -> set[str]:
    try:
        return set(read_toml(root / "pyproject.toml"))
    except SetupError:
        return set()  # the tools themselves report what is wrong with it
