"""What a user asked `invoke dev` for."""

from __future__ import annotations

from dataclasses import dataclass

from dagmar.dev.environment import LOG_LEVELS
from dagmar.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Request:
    """What a user asked `invoke dev` for."""

    notebook: str = ""
    dagster_port: int | None = None
    marimo_port: int | None = None
    open: bool = True
    env_file: str = ""
    dagster: bool = True
    marimo: bool = True
    once: bool = False
    log_level: str = ""


def check_request(request: Request) -> None:
    """Raise UsageError where the flags do not fit together."""
    if not (request.dagster or request.marimo):
        raise UsageError("--no-dagster and --no-marimo leave nothing to start")
    if request.notebook and not request.marimo:
        raise UsageError("--notebook needs marimo", "Leave --no-marimo out.")
    if request.dagster_port and request.dagster_port == request.marimo_port:
        raise UsageError("--dagster-port and --marimo-port are the same")
    if request.log_level and request.log_level not in LOG_LEVELS:
        raise UsageError(
            f"--log-level must be one of {', '.join(LOG_LEVELS)}"
            f"{did_you_mean(request.log_level, LOG_LEVELS)}"
        )
