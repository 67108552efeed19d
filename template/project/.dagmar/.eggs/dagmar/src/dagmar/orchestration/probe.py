"""Whether definitions load, tried in another process, as Dagster would load them.

A user's module may print, hang, or end its process. A code location may have another Python,
in which dagmar is not installed: the process imports dagmar from here, whatever its environment.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import dagmar
from dagmar.errors import DagmarError
from dagmar.orchestration.loader import definitions_of
from dagmar.orchestration.quiet import one_line
from dagmar.project.locations import GRPC, Workspace

SECONDS = 30
_START = """\
import importlib.util, os, sys
place = sys.argv[1]
answer = os.dup(1)
os.dup2(2, 1)
file = os.path.join(place, "__init__.py")
spec = importlib.util.spec_from_file_location("dagmar", file, submodule_search_locations=[place])
sys.modules["dagmar"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["dagmar"])
from dagmar.orchestration import probe
probe.main(answer, int(sys.argv[2]), *sys.argv[3:])
"""


class Broken(NamedTuple):
    """The code locations that do not load, each with an error message, and those that are slow."""

    errors: Mapping[str, str]
    slow: Sequence[str] = ()


def find_broken(
    root: Path, workspace: Workspace, environ: Mapping[str, str], seconds: int = SECONDS
) -> Broken:
    """Return the code locations of a project that do not load, or not within some `seconds`.

    Those behind a gRPC server are left out.
    """
    groups: dict[tuple[str, Path], list[str]] = {}
    for place in workspace.locations:
        if place.kind != GRPC:
            # A project of a dg workspace with its own environment is loaded as what it is.
            folder = place.folder if place.executable and place.folder else root
            groups.setdefault((place.executable or sys.executable, folder), []).append(place.name)
    errors, slow = dict[str, str](), list[str]()
    with contextlib.ExitStack() as stack:  # all start before the first is waited for
        probes = [
            (
                names,
                stack.enter_context(
                    _probe([python, *_arguments(seconds, folder, names)], folder, environ)
                ),
            )
            for (python, folder), names in groups.items()
        ]
        for names, answer in probes:
            known, reason = answer(seconds)
            for name in names:
                if name not in known and reason is None:
                    slow.append(name)
                elif error := known.get(
                    name, f"the code location '{name}' does not load: {reason}"
                ):
                    errors[name] = error
    return Broken(errors, slow)


def _arguments(seconds: int, root: Path, names: Sequence[str]) -> list[str]:
    place = str(Path(dagmar.__file__).parent)
    return ["-W", "ignore", "-c", _START, place, str(seconds), str(root), *names]


@contextlib.contextmanager
def _probe(
    command: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[Callable[[int], tuple[dict[str, str], str | None]]]:
    """Start a process that runs `main`; yield what waits for the errors.

    It also returns why the process may have loaded nothing, or None if that took too long.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env={**environ, "DAGSTER_IS_DEFS_VALIDATION_CLI": "1"},
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        except OSError as error:
            reason = f"{command[0]}, which runs it, does not start: {error.strerror}"
            yield lambda _: ({}, reason)
            return

        def answer(seconds: int) -> tuple[dict[str, str], str | None]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds + 5)  # it ends itself after `seconds`
            out.seek(0)
            err.seek(0)
            lines = err.read().strip().splitlines() or ["nothing was printed"]
            reason: str | None
            reason = f"its process ended with status {process.returncode}: {lines[-1]}"
            if process.returncode is None or any(line.startswith("Timeout (") for line in lines):
                reason = None
            return dict(json.loads(line) for line in out), reason

        try:
            yield answer
        finally:
            process.kill()
            process.wait()


def main(answer: int, seconds: int, root: str, *names: str) -> None:
    """Load code locations, and write a line for each: its name, and the error if it fails."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    for name in names:
        failures: dict[str, DagmarError] = {}
        try:
            for _ in definitions_of(Path(root)).each(failures, f"@{name}"):
                pass
            message = failures[name].message if name in failures else ""
        except DagmarError as error:
            message = error.message
        except BaseException as error:  # what ends a process, such as `sys.exit`
            message = f"the code location '{name}' does not load: {one_line(error)}"
        os.write(answer, f"{json.dumps([name, message])}\n".encode())
    os._exit(0)  # threads of the user's modules may go on
