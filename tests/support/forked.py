"""Calls of `invoke` in a fork of a process that has imported the slow libraries already.

A new interpreter spends most of a call on importing Dagster, marimo and Copier again. The nightly
profile starts one for each call, as users do.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

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
MODULES = (("dagmar.export.worker",), ("marimo", "check"))
"""What follows `python -m` in calls that fork, too."""
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
    subprocess.Popen = Forking  # type: ignore[misc]
    _run_module("invoke")


def _run_module(name: str) -> NoReturn:
    """Become `python -m` of a module, and end with its status."""
    status = 0
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class Forking(subprocess.Popen[Any]):
    """A Popen that forks where `python -m` would start one of MODULES in a new interpreter.

    The fork forgets this package, and has the arguments, folder, variables and streams that it
    would have been started with. A process with several threads starts an interpreter.
    """

    def _execute_child(self, args: Any, *rest: Any) -> None:
        cwd, env, shell, *streams = rest[4], rest[5], *rest[8:15]
        plain = not (rest[1] or rest[3] or shell or isinstance(args, str))
        words = [os.fsdecode(word) for word in args] if plain else []
        called = words[words.index("-m") + 1 :] if "-m" in words[:3] else []
        known = any(called[: len(module)] == [*module] for module in MODULES)
        alone = threading.active_count() == 1
        if words[:1] != [sys.executable] or not known or not alone:
            super()._execute_child(args, *rest)  # type: ignore[misc]
            return
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become(words, called[0], cwd, os.environ if env is None else env, streams)
            finally:
                os._exit(1)
        self._child_created = True
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]


def _become(
    words: list[str], module: str, cwd: str | None, env: Mapping[str, str], streams: list[int]
) -> None:
    """Become `python -m module` in a fork; `streams` are the ends of pipes, or -1."""
    stdin, _, _, stdout, _, stderr = streams
    for stream, target in ((0, stdin), (1, stdout), (2, stderr)):
        if target not in (-1, stream):
            os.dup2(target, stream)
    os.closerange(3, 1024)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    place = os.getcwd()
    os.chdir(cwd or place)
    sys.path[:] = [each for each in sys.path if each != place]
    if "-P" not in words:
        sys.path.insert(0, os.getcwd())
    for name in [name for name in sys.modules if name.partition(".")[0] in ("dagmar", "tasks")]:
        del sys.modules[name]
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = [module, *words[words.index("-m") + 2 :]]
    _run_module(module)
