"""The process that runs notebooks for an export: `python -m dagmar.export.worker`.

It imports marimo once, and then runs each notebook in a new fork, so that whatever a notebook does
ends with that fork. Jobs are lines of JSON on stdin, events are lines of JSON on stdout. At the end
of stdin the notebook that runs is killed, and the process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import DagmarError, Invalid, SetupError

if TYPE_CHECKING:
    from dagmar.notebook.internals import InternalApp
    from dagmar.notebook.streams import Pipes

GRACE_SECONDS = 5.0
EXIT_SECONDS = 60
TAIL_BYTES = 2_000
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run jobs until stdin ends."""
    events = os.dup(1)
    os.dup2(2, 1)  # what anything else prints is not an event
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    wake = _wake_on_child()
    with contextlib.suppress(ImportError, SetupError):  # the fork reports it
        _import()
    # Not buffered: a descriptor that can also be waited for.
    with open(0, "rb", buffering=0) as jobs:
        for line in jobs:
            if line.endswith(b"\n"):  # the parent may have been killed while it wrote
                _supervise(json.loads(line), events, wake)


def _import() -> None:
    """Import what every fork needs, once, before the first one."""
    import dagmar.export.offline
    import dagmar.notebook.execute
    import dagmar.notebook.internals
    import dagmar.notebook.render
    import dagmar.server.runconfig  # noqa: F401


def _wake_on_child() -> int:
    """Return a descriptor that becomes readable when a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    os.set_blocking(readable, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def _supervise(job: dict[str, Any], events: int, wake: int) -> None:
    """Run one job in a fork, until it ends, its time is over, or stdin ends."""
    from dagmar.notebook.streams import Pipes

    parent = os.getpid()
    with contextlib.closing(Pipes()) as pipes:
        child = os.fork()
        if child == 0:
            _child(job, events, pipes, parent)
        pipes.close_writers()
        deadline = time.monotonic() + job["timeout"] if job["timeout"] else None
        late = False
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                # First so that the page can still be written; then for good.
                _kill(child, signal.SIGKILL if late else signal.SIGINT)
                late, deadline = True, time.monotonic() + GRACE_SECONDS
                continue
            ready, _, _ = select.select([wake, 0, *pipes.watched], [], [], left)
            if 0 in ready:  # the end: the next job is sent when this one has ended
                _kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return
            if wake in ready:
                os.read(wake, 4096)
            pipes.move()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # what the notebook started and left behind
        pipes.move()
        code, tail = os.waitstatus_to_exitcode(ended[1]), pipes.tail(TAIL_BYTES)
        _send(events, "ended", status=code, late=late, printed=tail)


def _child(job: dict[str, Any], events: int, pipes: Pipes, parent: int) -> None:
    """Do the job and exit the process, whatever happens."""
    status = 70
    try:
        os.setsid()  # without a terminal: who asks for a password gets an error
        _end_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        pipes.connect()
        _work(job, events, pipes)
        _run_exit_handlers()
        status = 0
    except BaseException:
        with contextlib.suppress(BaseException):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)  # the notebook's threads must not keep it alive


def _run_exit_handlers() -> None:
    """Call what the notebook has registered with `atexit`; the report is written by now."""
    if multiprocessing := sys.modules.get("multiprocessing.util"):
        atexit.unregister(multiprocessing._exit_function)  # waits for processes that are killed
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(EXIT_SECONDS)
    atexit._run_exitfuncs()


def _end_with(parent: int) -> None:
    """Let this process be killed when its parent dies, if the system can do that (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os._exit(70)


def _work(job: dict[str, Any], events: int, pipes: Pipes) -> None:
    """Export with marimo's internals, or with its own command if they are not known."""
    os.chdir(job["root"])
    try:
        try:
            from dagmar.notebook import internals  # noqa: F401
        except SetupError as reason:
            _export_publicly(job, events, reason)
        else:
            _export(job, events, pipes)
    except DagmarError as error:
        _refuse(events, error)
    except OSError as error:
        message = f"the page cannot be written: {error.strerror or error}"
        hint = "Free some space, or choose another folder: --output DIR"
        _refuse(events, SetupError(message, hint))


def _refuse(events: int, error: DagmarError) -> None:
    fields = {name: getattr(error, name) for name in ("message", "hint", "command")}
    _send(events, "refused", **{"class": type(error).__name__}, **fields)


def _export(job: dict[str, Any], events: int, pipes: Pipes) -> None:
    """Run the notebook, write its files into the job's folder, and report the outcome."""
    from dagmar.export.offline import use_shared
    from dagmar.files import write_atomically
    from dagmar.notebook import execute, reporting
    from dagmar.notebook.commandline import read_command_line
    from dagmar.notebook.compatibility import guarded
    from dagmar.notebook.observing import Observer
    from dagmar.notebook.parameters import check_parameters, read_parameters
    from dagmar.notebook.render import render

    path, folder = Path(job["notebook"]), Path(job["folder"])
    observer = Observer() if job["observed"] else None
    interruption = execute.Interruption()
    signal.signal(signal.SIGINT, interruption)
    with guarded():
        execute.apply_settings(path)
        app, digest = _load(path)
        code = "" if job["code"] else app.to_py()
        _send(events, "read", sha256=digest, code=code, cells=execute.cell_names(app))
        source, title = execute.source_of(path, app), app.config.app_title or ""
        check_parameters(path, source, job["parameters"])
        values = read_parameters(source, job["parameters"])
        argv = read_command_line(source).arguments(job["parameters"])
    _check_partition(job, values)
    started = time.monotonic()
    with guarded():
        executed = execute.execute(
            *(path, values, argv, lambda name: _send(events, "cell", name=name)),
            *(interruption, app, pipes, observer.after if observer else None),
        )
        seconds = time.monotonic() - started
        # The time-out is for cells, not for writing what they show.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if observer:
            write_atomically(Path(job["observed"]), observer.as_text(executed))
        for format in job["formats"]:
            url = job["asset_url"] if format == "html" else None
            text = render(executed, format, job["code"], url)
            if url:
                text = use_shared(text, url)
            # This process may be killed at any time, and the files that exist are published.
            write_atomically(folder / f"{path.stem}.{format}", text)
    _send(
        events,
        "done",
        seconds=seconds,
        title=title,
        parameters=executed.parameters,
        reported=reporting.take(),
        error=executed.failure and executed.failure.as_document("cell"),
        interrupted=executed.interrupted,
    )


def _export_publicly(job: dict[str, Any], events: int, reason: DagmarError) -> None:
    """Write the files with marimo's own command, since its internals cannot be used."""
    from dagmar.export.offline import use_shared
    from dagmar.failure import Failure
    from dagmar.notebook import marimo_export
    from dagmar.notebook.cells import read_for_marimo
    from dagmar.notebook.commandline import read_command_line
    from dagmar.notebook.inputs import bindings
    from dagmar.notebook.nocode import Code

    path, url, parent = Path(job["notebook"]), job["asset_url"], os.getpid()
    source, _ = read_for_marimo(path)
    digest = hashlib.sha256(source.text.encode()).hexdigest()
    _send(events, "read", sha256=digest, code=source.text, cells=[])
    marimo_export.check_parameters(path, source, job["parameters"])
    _check_partition(job, bindings(source))
    started = time.monotonic()
    failed = marimo_export.export(
        path,
        Path(job["folder"]),
        job["formats"],
        read_command_line(source).arguments(job["parameters"]),
        None if job["code"] else Code(source.text),
        lambda text: use_shared(text, url) if url else text,
        lambda step: _send(events, "step", name=step),
        lambda: _end_with(parent),
    )
    error = Failure(failed, traceback="", place="") if failed else None
    _send(
        events,
        "done",
        seconds=time.monotonic() - started,
        title=source.title,
        error=error and error.as_document("cell"),
        executed_by=marimo_export.NAME,
        warning=f"{reason.message}; {marimo_export.MISSING}",
    )


def _check_partition(job: dict[str, Any], names: Collection[str]) -> None:
    """Refuse a partition that the notebook's asset does not have."""
    from dagmar.notebook.cells import PARTITION

    if job["asset"] and PARTITION in names and PARTITION in job["parameters"]:
        # Not in the parent process: the notebook's process needs the definitions anyway.
        from dagmar.orchestration.partitions import refuse_unknown

        refuse_unknown(Path(job["root"]), job["asset"], job["parameters"][PARTITION])


def _load(path: Path) -> tuple[InternalApp, str]:
    """Return a notebook, and the SHA-256 of the file that it was read from. Raises Invalid."""
    from dagmar.files import reading
    from dagmar.notebook.execute import load

    digest = ""
    with reading(path, Invalid):
        while (current := hashlib.sha256(path.read_bytes()).hexdigest()) != digest:
            # It may be saved while it is loaded.
            digest, app = current, load(path)
    return app, digest


def _kill(child: int, number: int) -> None:
    """Send a signal to the processes of a notebook: to the first one, if it is the only one yet."""
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        os.kill(child, number)


def _send(events: int, event: str, **values: Any) -> None:
    data = (json.dumps({"event": event, **values}) + "\n").encode()
    while data:
        data = data[os.write(events, data) :]


if __name__ == "__main__":
    # An import of this module must not load it a second time.
    sys.modules["dagmar.export.worker"] = sys.modules["__main__"]
    main()
