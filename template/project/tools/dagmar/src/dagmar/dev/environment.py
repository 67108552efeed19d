"""What the servers of a project are started with: Dagster's home and programs."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.files import write_atomically
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.project.locations import FILE, read_workspace, uses_dg

INSTANCE = Path(__file__).with_name("dagster.yaml")
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def dagster_home(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of the instance: DAGSTER_HOME, or the project's own, made if need be.

    Raises SetupError for a DAGSTER_HOME that is no folder; OSError.
    """
    if named := environ.get("DAGSTER_HOME"):
        home = Path(os.path.expanduser(named))
        if not home.is_absolute() or not home.is_dir():
            if home.is_absolute():
                hint = f"Make it: mkdir -p {shlex.quote(str(home))}"
            elif os.environ.get("DAGSTER_HOME") == named:
                hint = "Or type: unset DAGSTER_HOME"
            else:
                hint = "Take it out of .env (or the --env-file), or write an absolute path there."
            raise SetupError(
                "DAGSTER_HOME must be the absolute path of a folder that is there", hint
            )
        return home
    home = root / LOCAL_INSTANCE
    if not (home / "dagster.yaml").exists():
        write_atomically(home / "dagster.yaml", INSTANCE.read_text("utf-8"))
    return home


def dagster_command(root: Path, port: int, log_level: str) -> list[str]:
    """Return the command that starts Dagster: `dg dev` in a dg project, `dagster dev` elsewhere.

    Raises SetupError where it is not installed.
    """
    _require("dagster_webserver", "dagster-webserver", "dagster")
    if uses_dg(root):
        _require("dagster_dg_cli", "dagster-dg-cli", "dagster")
        start = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        command = [sys.executable, "-c", start, "dev"]
    else:
        command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev", *_targets(root)]
    level = ["--log-level", log_level] if log_level else []
    return [*command, "--host", "127.0.0.1", "--port", str(port), *level]


def _targets(root: Path) -> list[str]:
    """Return flags for definitions that no file declares; `dagster dev` does not look for them."""
    try:
        workspace = read_workspace(root)
    except SetupError:
        return []  # Dagster itself says why
    if not workspace.guessed:
        return []
    flags = {FILE: "-f"}
    (first, *_) = workspace.locations
    chosen = [one for one in workspace.locations if one.kind == first.kind]
    folder = ["-d", str(first.working_directory)]
    return [*(part for one in chosen for part in (flags.get(one.kind, "-m"), one.target)), *folder]


def marimo_command(target: Path, port: int, token_file: Path, log_level: str) -> list[str]:
    """Return the command that serves a notebook, or a folder of them, for editing.

    Raises SetupError where marimo is not installed.
    """
    _require("marimo", "marimo", "marimo")
    level = {"warning": "warn"}.get(log_level, log_level)
    return [
        *(sys.executable, "-m", "marimo", "--yes"),
        *(["--log-level", level] if level else []),
        *("edit", str(target), "--headless", "--no-sandbox", "--skip-update-check"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--token-password-file", str(token_file)),
    ]


def _require(module: str, package: str, flag: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise SetupError(
            f"{package} is not installed",
            f"Type: uv sync (or go without it: invoke dev --no-{flag})",
        )
