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

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Job:
    """One notebook to run, the asset that it is about, and the folder that its files go into."""

    root: Path
    notebook: Path
    folder: Path
    formats: tuple[str, ...]
    parameters: dict[str, str]
    code: bool
    asset_url: str | None
    timeout: float | None
    asset: str | None = None

    @property
    def pages(self) -> list[Path]:
        """The files that it writes, unless it fails before."""
        return [self.folder / f"{self.notebook.stem}.{format}" for format in self.formats]

    def as_line(self) -> bytes:
        """Return what a worker reads."""
        return (json.dumps(vars(self), default=str) + "\n").encode()


@dataclass
class Outcome:
    """The outcome of a job: either `refused`, or the notebook was run, to its end or not.

    `error` is why the notebook failed, `late` if its time was over; `sha256` is that of the
    notebook that was run; `warning` says what is missing if marimo's own command ran it.
    """

    seconds: float = 0.0
    sha256: str = ""
    title: str = ""
    reported: dict[str, Any] = field(default_factory=dict)
    error: Failure | None = None
    late: bool = False
    refused: DagmarError | None = None
    interrupted: bool = False
    executed_by: str = "dagmar"
    warning: str = ""


class Worker:
    """One process that runs notebooks, one after the other, until it is `dead`."""

    def __init__(self, root: Path) -> None:
        self.dead = False
        environ = {"MPLBACKEND": "agg", **os.environ}
        environ |= {"_DAGMAR_EXPORT": "1", "PYTHONUNBUFFERED": "1"}
        safe_path = ["-P"] if sys.version_info >= (3, 11) else []
        self._process = subprocess.Popen(
            [sys.executable, *safe_path, "-m", "dagmar.export.worker"],
            cwd=root,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def run(self, job: Job, on_cell: Callable[[str], None]) -> Outcome:
        """Run one job to its end."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        outcome: Outcome | None = None
        cell, digest = "", ""
        try:
            process.stdin.write(job.as_line())
            process.stdin.flush()
            for line in process.stdout:
                event = json.loads(line)
                kind = event.pop("event")
                if kind in ("cell", "step"):
                    on_cell(event["name"])
                    cell = event["name"] if kind == "cell" else cell
                elif kind == "read":
                    digest = event["sha256"]
                elif kind == "ended":
                    return replace(_ended(job, cell, outcome, event), sha256=digest)
                else:
                    outcome = _outcome(kind, event)
        except (BrokenPipeError, ValueError):
            pass
        self.dead = True
        return Outcome(
            refused=SetupError(
                "the process that runs notebooks died",
                f"Start it by hand to see why: {sys.executable} -m dagmar.export.worker",
            )
        )

    def stop(self) -> None:
        """Stop the process, and the notebook that it may be running."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _outcome(kind: str, event: dict[str, Any]) -> Outcome:
    if kind == "refused":
        error_class = getattr(errors, event["class"], Invalid)
        return Outcome(refused=error_class(event["message"], event["hint"], event["command"]))
    failure = event.pop("error")
    return Outcome(**event, error=Failure.from_document(failure, "cell") if failure else None)


def _ended(job: Job, cell: str, outcome: Outcome | None, event: dict[str, Any]) -> Outcome:
    """Return the outcome of a notebook whose process has ended."""
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
        self._root, self._lock, self._stopped = root, threading.Lock(), False
        self._workers = {Worker(root) for _ in range(count)}
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all workers."""
        with self._lock:
            self._stopped = True
        for worker in self._workers:
            worker.stop()

    def run(self, job: Job, on_cell: Callable[[str], None] = lambda name: None) -> Outcome:
        """Run one job when a worker is free for it. May be called from several threads."""
        worker = self._free.get()
        try:
            return worker.run(job, on_cell)
        finally:
            self._free.put(self._replaced(worker) if worker.dead else worker)

    def _replaced(self, worker: Worker) -> Worker:
        """Return a new worker for the next notebook, unless this pool has stopped."""
        with self._lock:
            if self._stopped:
                return worker
            try:
                new = Worker(self._root)
            except OSError:
                return worker  # which refuses every job
            self._workers.remove(worker)
            self._workers.add(new)
        worker.stop()
        return new

    def for_each(self, items: Sequence[T], act: Callable[[T], R]) -> list[R]:
        """Call `act` for each item, as many at a time as there are workers.

        Ctrl-C stops the running notebooks, and no other is started.
        """
        with ThreadPoolExecutor(len(self._workers)) as threads:
            try:
                return list(threads.map(act, items))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise
