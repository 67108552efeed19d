"""What the servers of a project are started with: Dagster's home, variables, programs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from dagmar import console
from dagmar.errors import SetupError, UsageError
from dagmar.files import write_atomically
from dagmar.project.layout import LOCAL_INSTANCE
from dagmar.project.sources import bad_lines, env_values

INSTANCE = """\
# The local Dagster instance. Runs, events and logs are kept in this folder, out of git.

# Runs start at once instead of waiting for the daemon to take them from its queue.
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator

telemetry:
  enabled: false
nux:
  enabled: false
"""
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def read_environ(root: Path, env_file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for the servers: `environ` over `env_file` over the project's `.env`.

    Raises UsageError where `env_file` is not there, or a file cannot be read or passed on.
    """
    values: dict[str, str] = {}
    if env_file and not Path(env_file).is_file():
        raise UsageError(f"there is no file {env_file}", "Give --env-file a file.")
    files = [root / ".env", *([Path(env_file)] if env_file else [])]
    for file in filter(Path.is_file, files):
        try:
            read = env_values(file)
            for line in bad_lines(file):
                console.warn(f"{file.name}:{line}: this is no NAME=value, and is passed over")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"{file} cannot be read: {reason}") from None
        for name, value in read.items():
            # What no process can be given; the message never prints a value.
            if not name or "=" in name or "\0" in f"{name}{value}":
                shown = name.partition("=")[0].replace("\0", "")
                raise UsageError(
                    f"{file} sets a variable that no program can get: '{shown}…'",
                    "A name has no '=' in it, and neither a name nor a value a null character.",
                )
        values.update({name: value for name, value in read.items() if value is not None})
    return {**values, **environ}


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
        write_atomically(home / "dagster.yaml", INSTANCE)
    return home


def dagster_command(root: Path, port: int, log_level: str) -> list[str]:
    """Return the command that starts Dagster: `dg dev` in a dg project, `dagster dev` elsewhere.

    Raises SetupError where it is not installed.
    """
    _require("dagster_webserver", "dagster-webserver", "dagster")
    if is_dg_project(root):
        _require("dagster_dg_cli", "dagster-dg-cli", "dagster")
        start = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        command = [sys.executable, "-c", start, "dev"]
    else:
        command = [sys.executable, "-W", "ignore", "-m", "dagster", "dev"]
    level = ["--log-level", log_level] if log_level else []
    return [*command, "--host", "127.0.0.1", "--port", str(port), *level]


def is_dg_project(root: Path) -> bool:
    """Whether `dg` knows the folder as a project or a workspace."""
    if (root / "dg.toml").is_file():
        return True
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = (root / "pyproject.toml").read_text("utf-8").splitlines()
        return any(line.strip().startswith(("[tool.dg]", "[tool.dg.")) for line in lines)
    return False


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
