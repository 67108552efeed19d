"""Runs notebooks in worker processes, and returns the outcome of each.

Nothing that a notebook does can reach this process: it exits, hangs, prints or crashes in a fork
of its worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from dagmar import errors
from dagmar.errors import DagmarError, Invalid, SetupError
from dagmar.failure import Failure
from dagmar.notebook.nocode import Code

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """One notebook to run, the asset that it is about, and the folder that its files go into.

    What is seen of it is written to `observed`, if that is given.
    """

    root: Path
    notebook: Path
    folder: Path
    formats: tuple[str, ...]
    parameters: dict[str, str]
    code: bool
    asset_url: str | None
    timeout: float | None
    asset: str | None = None
    observed: Path | None = None


@dataclass
class Outcome:
    """The outcome of a notebook that was run, to its end or not.

    `error` is why the notebook failed, `late` if its time was over; `sha256` is that of the
    notebook that was run, `code` its text if that is to be concealed, and `cells` are the names
    of its cells; `parameters` are the values that it was run with; `warning` says what is missing
    if marimo's own command ran it.
    """

    seconds: float = 0.0
    sha256: str = ""
    code: str = ""
    cells: list[str] = field(default_factory=list)
    title: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    late: bool = False
    interrupted: bool = False
    executed_by: str = "dagmar"
    warning: str = ""

    @property
    def concealed_error(self) -> Failure | None:
        """Why the notebook failed, without its code and what it printed."""
        return self.error and Code(self.code, self.cells).conceal(self.error)


class Worker:
    """Runs notebooks, one after the other, in a process that is started again if it dies."""

    def __init__(self, root: Path) -> None:
        self._root, self._lock, self._stopped = root, threading.Lock(), False
        self._start()

    def _start(self) -> None:
        environ = {"MPLBACKEND": "agg", **os.environ}
        safe_path = ["-P"] if sys.version_info >= (3, 11) else []
        self._process = subprocess.Popen(
            [sys.executable, *safe_path, "-m", "dagmar.export.worker"],
            cwd=self._root,
            env={**environ, "_DAGMAR_EXPORT": "1", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs, self._events = self._process.stdin, self._process.stdout

    def run(self, job: Job, on_cell: Callable[[str], None]) -> Outcome:
        """Run one job to its end. Raises the error of a notebook that is refused, SetupError."""
        outcome: Outcome | None = None
        refused: DagmarError | None = None
        cell = ""
        read: dict[str, Any] = {}
        try:
            self._jobs.write((json.dumps(vars(job), default=str) + "\n").encode())
            self._jobs.flush()
            for line in self._events:
                event = json.loads(line)
                kind = event.pop("event")
                if kind in ("cell", "step"):
                    on_cell(event["name"])
                    cell = event["name"] if kind == "cell" else cell
                elif kind == "read":
                    read = event
                elif kind == "refused":
                    refused = getattr(errors, event.pop("class"), Invalid)(**event)
                elif kind == "done":
                    failure = event.pop("error")
                    error = failure and Failure.from_document(failure, "cell")
                    outcome = Outcome(**event, error=error)
                elif refused:
                    raise refused
                else:
                    return replace(_ended(job, cell, outcome, event), **read)
        except (BrokenPipeError, ValueError):
            pass
        self._restart()
        hint = f"Start it by hand to see why: {sys.executable} -m dagmar.export.worker"
        raise SetupError("the process that runs notebooks died", hint)

    def _restart(self) -> None:
        """Replace the process for the next notebook, unless this worker was stopped."""
        with self._lock:
            if not self._stopped:
                self._end()
                with suppress(OSError):  # without a process every notebook is refused
                    self._start()

    def stop(self) -> None:
        """Stop the process, and the notebook that it may be running."""
        with self._lock:
            self._stopped = True
            self._end()

    def _end(self) -> None:
        with suppress(BrokenPipeError):
            self._jobs.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._events.close()


def _ended(job: Job, cell: str, outcome: Outcome | None, event: dict[str, Any]) -> Outcome:
    if event["late"] and (outcome is None or outcome.interrupted):
        message = f"it took longer than --timeout {job.timeout:g}"
        late = outcome or Outcome(seconds=job.timeout or 0.0)
        error = late.error or Failure(message, traceback="", place=cell)
        return replace(late, error=replace(error, message=message, kind="TimedOut"), late=True)
    if outcome is not None:
        return outcome
    status = event["status"]
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    message, printed = f"the notebook's process {how}", event["printed"].strip()
    return Outcome(error=Failure(message, "ProcessEnded", printed, cell))


class Pool:
    """Worker processes, each running one notebook at a time."""

    def __init__(self, root: Path, count: int) -> None:
        self._workers = [Worker(root) for _ in range(count)]
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def close(self) -> None:
        """Stop all workers."""
        for worker in self._workers:
            worker.stop()

    def run(self, job: Job, on_cell: Callable[[str], None]) -> Outcome:
        """Run one job when a worker is free for it. May be called from several threads.

        Raises what `Worker.run` does.
        """
        worker = self._free.get()
        try:
            return worker.run(job, on_cell)
        finally:
            self._free.put(worker)

    def for_each(self, items: Sequence[T], act: Callable[[T], R]) -> list[R]:
        """Call `act` for each item, as many at a time as there are workers.

        Ctrl-C stops the running notebooks, and no other is started.
        """
        with ThreadPoolExecutor(len(self._workers)) as threads:
            try:
                return list(threads.map(act, items))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise
