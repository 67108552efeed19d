"""How the servers of a project are started: Dagster's home, and the two commands."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import NotHere, SetupError
from dagmar.files import expanded, write_atomically
from dagmar.project.installing import add_command, installed_version
from dagmar.project.layout import LOCAL_INSTANCE, STARTED_WITH, make_folder
from dagmar.project.locations import read_workspace, uses_dg

INSTANCE = Path(__file__).with_name("dagster.yaml")
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def dagster_home(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of the instance: DAGSTER_HOME, or the project's own, created if missing.

    Raises SetupError for a DAGSTER_HOME that is not a folder; OSError.
    """
    if named := environ.get("DAGSTER_HOME"):
        home = expanded(named)
        if home.is_absolute() and home.is_dir():
            return home
        message = "DAGSTER_HOME must be the absolute path of an existing folder"
        if home.is_absolute():
            raise SetupError(message, "Create it:", f"mkdir -p {shlex.quote(str(home))}")
        if os.environ.get("DAGSTER_HOME") == named:
            raise SetupError(message, "Or type:", "unset DAGSTER_HOME")
        hint = "Remove it from .env (or the --env-file), or write an absolute path there."
        raise SetupError(message, hint)
    home = root / LOCAL_INSTANCE
    make_folder(home)
    if not (home / "dagster.yaml").exists():
        write_atomically(home / "dagster.yaml", INSTANCE.read_text("utf-8"))
    return home


def dagster_command(root: Path, port: int, log_level: str) -> list[str]:
    """Return the command that starts Dagster: `dg dev` in a dg project, else `dagster dev`.

    Raises SetupError if it is not installed, and for a file with code locations that is not valid.
    """
    _require("dagster-webserver", "dagster")
    if uses_dg(root):
        _require("dagster-dg-cli", "dagster")
        start = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        command = [sys.executable, "-c", start, "dev"]
    else:
        command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", *_targets(root)]
    level = ["--log-level", log_level] if log_level else []
    return [*command, "--host", "127.0.0.1", "--port", str(port), *level]


def _targets(root: Path) -> list[str]:
    """Return the flags for definitions that `dagster dev` would not find by itself."""
    try:
        workspace = read_workspace(root)
    except NotHere:
        return []  # Dagster itself reports why
    if workspace.known:
        return []
    file = workspace.file or root / STARTED_WITH
    if not workspace.file:  # the flags of `dagster dev` cannot mix files, modules and folders
        write_atomically(file, workspace.as_yaml() + "\n")
    return ["-w", str(file)]


def marimo_command(target: Path, port: int, token_file: Path, log_level: str) -> list[str]:
    """Return the command that serves a notebook, or a folder of them, for editing.

    Raises SetupError if marimo is not installed.
    """
    _require("marimo", "marimo")
    level = {"warning": "warn"}.get(log_level, log_level)
    return [
        *(sys.executable, "-m", "marimo", "--yes"),
        *(["--log-level", level] if level else []),
        *("edit", str(target), "--headless", "--no-sandbox", "--skip-update-check"),
        # Shows what an IDE, an agent or `invoke update` saves, and runs nothing, unless the user's
        # own `watcher_on_save` says so.
        "--watch",
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--token-password-file", str(token_file)),
    ]


def _require(package: str, flag: str) -> None:
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        raise SetupError(
            f"{package} is not installed",
            f"Start without it (`invoke dev --no-{flag}`), or type:",
            add_command(package, dagster=installed_version("dagster") or ""),
        )
