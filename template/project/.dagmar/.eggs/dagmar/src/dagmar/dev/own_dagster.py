"""The requests of `invoke dev` to the Dagster it started: once it is ready, and before it stops."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError, SetupError, UnexpectedAnswer, counted
from dagmar.failure import Failure
from dagmar.project.code import not_loaded
from dagmar.project.locations import check_command

if TYPE_CHECKING:
    from dagmar.dev.reporter import Reporter
    from dagmar.server.client import DagsterClient

Begun = Callable[[subprocess.Popen[str]], None]
STOP_TIMEOUTS = (0.5, 2.0)
LEFTOVER_SECONDS = 60.0


def client_of(url: str, timeouts: tuple[float, float] = (5.0, 60.0)) -> DagsterClient:
    """Return a client of the Dagster at an address of this machine."""
    from dagmar.project.settings import Target
    from dagmar.server.client import DagsterClient

    return DagsterClient(Target("local", url, timeouts=timeouts))


def look(
    root: Path,
    url: str,
    before: float,
    environ: Mapping[str, str],
    reporter: Reporter,
    begun: Begun,
) -> dict[str, Failure]:
    """Report code locations that do not load, and runs that a killed Dagster left behind.

    `begun` is called with the process that this may start. Returns and raises what
    `broken_locations` does.
    """
    broken = broken_locations(url)
    for name, failure in broken.items():
        reporter.warn(not_loaded(root, name, failure))
    # Runs that cannot be checked now are checked at the next start.
    with contextlib.suppress(
        DagmarError, OSError, ValueError, LookupError, subprocess.SubprocessError
    ):
        if failed := fail_leftovers(url, before, environ, begun):
            left = f"{counted(len(failed), 'run')} left from before"
            text = f"Marked {left} as failed: nothing executes {'them' if failed[1:] else 'it'}."
            reporter.event("runs_failed", text, run_ids=failed)
    return broken


def broken_locations(url: str) -> dict[str, Failure]:
    """Return the code locations that do not load, each with why.

    Raises Unreachable if Dagster does not answer, or with something that dagmar cannot read.
    """
    from dagmar.server.catalog import read_catalog

    try:
        with client_of(url) as client:
            return read_catalog(client, (), None).broken
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnexpectedAnswer(
            f"Dagster did not report whether its code locations load ({type(error).__name__})",
            "To see whether they do, type:",
            command="invoke discover --kind locations",
        ) from error


def require_loaded(root: Path, looked: Mapping[str, Failure] | Exception) -> None:
    """Raise the error that stopped `look`; SetupError for code locations that do not load."""
    if isinstance(looked, Exception):
        raise looked
    if looked:
        count = f"{len(looked)} code location{'s do' if len(looked) > 1 else ' does'}"
        raise SetupError(
            f"not everything is ready: {count} not load",
            "To see why, type:",
            command=check_command(root),
        )


def fail_leftovers(url: str, before: float, environ: Mapping[str, str], begun: Begun) -> list[str]:
    """Mark the runs from before this time that no process executes as failed; return their ids."""
    from dagmar.orchestration import abandoned
    from dagmar.server.runs import unfinished_runs

    with client_of(url) as client:
        if not unfinished_runs(client, before):
            return []
    arguments = (environ["DAGSTER_HOME"], str(before))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", abandoned.__name__, *arguments],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        begun(process)
        try:
            output, _ = process.communicate(timeout=LEFTOVER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return list(json.loads(output.splitlines()[-1])) if process.returncode == 0 else []


def cancel_runs(url: str, scratch: Path) -> int:
    """Cancel the runs in progress that this Dagster's code servers launched; return how many.

    Their sockets are in `scratch`; others may launch runs on the same instance.
    Nothing is raised: whatever is wrong with Dagster, its processes are ended next.
    """
    from dagmar.server.runs import cancel_runs_of_code_server

    cancelled = 0
    sockets: list[Path] = []
    with contextlib.suppress(OSError):  # files may vanish in the meantime
        sockets = [path for path in scratch.iterdir() if path.is_socket()]
    with client_of(url, STOP_TIMEOUTS) as client:
        for socket in sockets:
            with contextlib.suppress(DagmarError, OSError, ValueError, LookupError, TypeError):
                cancelled += cancel_runs_of_code_server(client, str(socket))
    return cancelled
