"""What `invoke dev` asks of its own Dagster, after it starts and before it ends."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError, SetupError, UnexpectedAnswer

if TYPE_CHECKING:
    from dagmar.dev.reporter import Reporter
    from dagmar.server.client import DagsterClient

Begun = Callable[[subprocess.Popen[str]], None]

STOP_TIMEOUTS = (0.5, 2.0)
LEFTOVER_SECONDS = 60.0


def _client(url: str, timeouts: tuple[float, float] = (5.0, 60.0)) -> DagsterClient:
    from dagmar.project.settings import Target
    from dagmar.server.client import DagsterClient

    return DagsterClient(Target("local", url, timeouts=timeouts))


def look(
    url: str,
    home: Path,
    before: float,
    environ: Mapping[str, str],
    reporter: Reporter,
    begun: Begun,
) -> dict[str, str]:
    """Tell of code locations that do not load, and of runs that a killed Dagster left behind.

    `begun` gets the process that this may take. Returns and raises what `broken_locations` does.
    """
    broken = broken_locations(url)
    for name, reason in broken.items():
        reporter.warn(f"the code location '{name}' does not load: {reason}")
    # Runs that cannot be looked at wait for the next start.
    with contextlib.suppress(
        DagmarError, OSError, ValueError, LookupError, subprocess.SubprocessError
    ):
        failed = leftovers(url, home, before, environ, begun)
        if failed:
            left = f"{len(failed)} run{'s' * (len(failed) > 1)} left from before"
            text = f"Marked {left} as failed: nothing executes {'them' if failed[1:] else 'it'}."
            reporter.event("runs_failed", text, run_ids=failed)
    return broken


def broken_locations(url: str) -> dict[str, str]:
    """Return the code locations that do not load, each with its exception in one line.

    Raises Unreachable where Dagster does not answer, or not with what is known of it.
    """
    from dagmar.server.catalog import read_catalog

    try:
        with _client(url) as client:
            catalog = read_catalog(client, (), None)
        return {name: failure.line for name, failure in catalog.broken.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnexpectedAnswer(
            f"Dagster did not tell whether its code locations load ({type(error).__name__})",
            "To see whether they do, type: dg check defs",
        ) from error


def require_loaded(looked: Mapping[str, str] | Exception) -> None:
    """Raise what kept `look` from looking; SetupError for code locations that do not load."""
    if isinstance(looked, Exception):
        raise looked
    if looked:
        count = f"{len(looked)} code location{'s do' if len(looked) > 1 else ' does'}"
        raise SetupError(
            f"not everything is ready: {count} not load", "To see why, type: dg check defs"
        )


def leftovers(
    url: str, home: Path, before: float, environ: Mapping[str, str], begun: Begun
) -> list[str]:
    """Mark runs made before this time, that no process executes, as failed; return their ids."""
    from dagmar.orchestration import abandoned
    from dagmar.server.runs import unfinished_runs

    with _client(url) as client:
        if not unfinished_runs(client, before):
            return []
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", abandoned.__name__, str(home), str(before)],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        begun(process)
        try:
            said, _ = process.communicate(timeout=LEFTOVER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return list(json.loads(said.splitlines()[-1])) if process.returncode == 0 else []


def cancel_runs(url: str, scratch: Path) -> int:
    """Cancel the runs in progress that our code servers launched; return how many.

    Their sockets are in `scratch`: runs that others launched on the same instance are not ours.
    Whatever is wrong with Dagster, its processes are to be ended next: nothing is raised.
    """
    from dagmar.server.runs import cancel_runs_of_code_server

    cancelled = 0
    with _client(url, STOP_TIMEOUTS) as client:
        for socket in _sockets(scratch):
            with contextlib.suppress(DagmarError, OSError, ValueError, LookupError, TypeError):
                cancelled += cancel_runs_of_code_server(client, socket)
    return cancelled


def _sockets(folder: Path) -> list[str]:
    """Return the sockets in a folder where temporary files come and go."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                    found.append(entry.path)
    return found
