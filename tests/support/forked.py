"""Calls of `invoke` in a fork of a process that has imported the slow libraries already.

A new interpreter spends most of a call on importing Dagster, marimo and Copier again. The nightly
profile starts one for each call, as users do.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace

LIBRARIES = (
    "copier",
    "dagster",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.workspace.autodiscovery",
    "dagster._utils.test",
    "dagster.components",
    "fastjsonschema",
    "invoke",
    "jinja2_ansible_filters",
    "marimo",
    "marimo._convert.converters",
    "polars",
    "requests",
    "rich.console",
    "rich.table",
    "support.quick_dagster.read_revisions",
)
READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ")
"""How the names begin of variables that an interpreter reads as it starts."""
TESTS = str(Path(__file__).parents[1])
profile = SimpleNamespace(may_fork=True)


def invoke(
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Call `invoke` in a folder, with the variables of `environ` added to those of the tests.

    Raises subprocess.TimeoutExpired after `timeout` seconds.
    """
    everything = {**os.environ, **environ}
    changed = dict(environ.items() - os.environ.items())
    if profile.may_fork and not any(name.startswith(READ_AT_START) for name in changed):
        return _fork(arguments, folder, everything, timeout)
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=folder,
        env=everything,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _fork(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as streams:
        files = [Path(streams) / name for name in ("stdout", "stderr")]
        process = _context().Process(
            target=_main, args=(list(arguments), str(folder), dict(environ), *map(str, files))
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["invoke", *arguments], timeout)
        texts = [file.read_text("utf-8") for file in files]
    return subprocess.CompletedProcess(["invoke", *arguments], process.exitcode, *texts)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    return context


def _main(
    arguments: Sequence[str], folder: str, environ: Mapping[str, str], stdout: str, stderr: str
) -> None:
    """Become `python -m invoke` in another folder, with another environment and other streams."""
    for stream, target in ((0, os.devnull), (1, stdout), (2, stderr)):
        opened = os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  multiprocessing closed it
    own = ("", TESTS, os.getcwd())
    sys.path[:] = [folder, *(place for place in sys.path if place not in own)]
    sys.argv[:] = ["invoke", *arguments]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    status = 0
    try:
        runpy.run_module("invoke", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
