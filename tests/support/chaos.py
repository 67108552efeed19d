"""dagmar under random faults: real processes against a real Dagster, and an account of the end.

`Chaos` draws each step from its seed: what is called, what happens to its connections, whether the
server restarts, how large a file may become, and by which signal at which moment the process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from dagmar.export import manifests
from dagmar.server.client import DagsterClient
from support import full_disk
from support.dagster_server import backfills_tagged, runs_tagged
from support.export_project import GOOD, assert_whole, export_project
from support.fault_proxy import Fault, FaultProxy
from support.processes import TAG, die_with_tests, tagged

FAULTS = [fault for fault in get_args(Fault) if fault]
SEARCH = "\nfrom dagmar.server import launch\n\nlaunch.SEARCH_SECONDS = 5.0\n"
LIMITS = (0, 200, 5_000, 40_000)
"""Bytes that a file may have while the disk is full."""
REFUSED = (2, 3, 6, 7, 8)
"""Statuses of a call that has launched nothing."""
LONGEST_SECONDS = 3.0
"""The latest moment at which a process is killed."""
DEADLINE = 300.0
UNFINISHED = re.compile(r"\..+\.(partial|[a-z0-9_]{8})")
"""How files are called that are being written."""
NOTEBOOK = "printed():\nimport time\n\nfor number in range(20):\n    time.sleep(0.05)\n"
MINE = {
    "notes.txt": "mine\r\n",
    "notebooks/.draft.py.abcdefgh": "# looks like a temporary file of dagmar\n",
    "notebooks/mine.py": "# not a notebook\n",
    ".dagmar/exports/good/mine.html": "<p>kept here by hand</p>",
    ".dagmar/cache/mine.json": "{}",
}


@dataclass
class Launch:
    """A launch that was wanted, and what its process said about it."""

    tag: str
    what: str
    status: int
    """The exit status; negative for a signal."""
    said: str
    fault: str = ""


@dataclass
class Account:
    """What was done, and what is left of it."""

    seed: int
    steps: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    launches: list[Launch] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    exported: list[list[str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [("steps", self.steps), ("faults", self.faults), ("statuses", self.statuses)]
        rows = [f"seed {self.seed}"]
        rows += [f"{name}: {sum(c.values())} {dict(sorted(c.items()))}" for name, c in parts]
        rows += [f"{name}: {number}" for name, number in sorted(self.counts.items())]
        return "\n".join([*rows, *self.wrong])


class Chaos:
    """A project whose server is behind a proxy that breaks connections, and its random steps.

    `restart` restarts the server, if it may be restarted; `failed` are runs that can be retried.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        url: str,
        client: DagsterClient,
        restart: Callable[[], None] | None = None,
        failed: Sequence[str] = (),
    ) -> None:
        self.account = Account(seed)
        self._random = random.Random(seed)
        self._draws = random.Random(seed + 1)  # by the threads of the proxy
        self._lock = threading.Lock()
        self._rate, self._unending = 0.0, ""
        self._client, self._restart, self._failed = client, restart, list(failed)
        self._processes = uuid.uuid4().hex
        self.proxy = FaultProxy(url, choose=self._choose)
        settings = f"targets: {{local: {{url: '{self.proxy.url}', read_timeout: 30}}}}\n"
        self.project = export_project(folder / "project", settings, good=GOOD, slow=NOTEBOOK)
        self.root = self.project.root
        with (self.root / "tasks.py").open("a", encoding="utf-8") as tasks:
            tasks.write(SEARCH)
        for name, text in MINE.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(text.encode())
        self._mine = self._files()

    def _files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    def _choose(self, operation: str) -> Fault:
        with self._lock:
            if self._draws.random() >= self._rate:
                return ""
            fault: Fault = self._draws.choice(FAULTS)
            self.account.faults[fault] += 1
            return fault

    def step(self) -> None:
        """Do one thing, with faults."""
        steps: dict[str, Callable[[], None]] = {
            "run": lambda: self._launch("run", "--asset", "raw/orders", "--no-wait"),
            "run, followed": lambda: self._launch("run", "--asset", "raw/orders"),
            "backfill": lambda: self._launch(
                "backfill", "--asset", "colored", "--all-partitions", "--no-wait"
            ),
            "cancel": self._cancel,
            "export": self._export,
            "export with --keep": lambda: self._export("--keep", "2"),
            "scaffold": lambda: self._call("scaffold", "--asset", "raw/orders", "--force"),
            "discover": lambda: self._call("discover", "--refresh", "--json"),
            "stats": lambda: self._call("stats", "--json"),
            "clean": lambda: self._call("clean", "--cache", "--logs", "--yes"),
        }
        if self._failed:
            steps["retry"] = self._retry
        name = self._random.choice([*steps])
        self.account.steps[name] += 1
        if name == "cancel":
            self._unending = self._launch_unending()
        restarts = self._restart and self._random.random() < 0.1
        self._rate = self._random.choice([0.0, 0.1, 0.4])
        # A server ends with the thread that started it, so that is this one.
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(steps[name])
            if self._restart and restarts:
                self.account.faults["server restarts"] += 1
                self._restart()
            done.result()
        self._rate = 0.0

    def _call(self, *words: str) -> tuple[int, str, str, str]:
        """Call dagmar, maybe on a full disk, and maybe kill it.

        Returns its status, what it printed, and the fault of its process.
        """
        fault = self._random.choice(["", "", "", "disk", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT"])
        limit, moment = self._random.choice(LIMITS), self._random.uniform(0.0, LONGEST_SECONDS)

        def prepare() -> None:
            die_with_tests()
            if fault == "disk":
                full_disk.fill(limit)

        # Pipes: the limit of files would be one of what is printed, too.
        with subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=self.root,
            env={
                **(full_disk.environ() if fault == "disk" else os.environ),
                "XDG_CONFIG_HOME": str(self.root / "no-config"),
                "PYTHONDONTWRITEBYTECODE": "1",
                TAG: self._processes,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        ) as process:
            signalled = False
            if fault.startswith("SIG"):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                signalled = process.poll() is None
                if signalled:
                    process.send_signal(getattr(signal, fault))
            stdout, stderr = process.communicate(timeout=DEADLINE)
        status = process.returncode
        fault = fault if signalled or fault == "disk" else ""
        self.account.statuses[status] += 1
        if fault:
            self.account.faults[fault] += 1
        shown = f"`{' '.join(words)}` with {fault or 'no fault'}: status {status}\n{stderr}"
        # A signal may come before Python has begun, or while Invoke is imported.
        early = signalled and "dagmar" not in stderr
        if "Traceback" in stderr and not early:
            self.account.wrong.append(f"a traceback of {shown}")
        if status == 1 and not early:
            self.account.wrong.append(f"status 1 of {shown}")
        return status, stdout, stderr, fault

    def _launch(self, what: str, *flags: str) -> None:
        tag = uuid.uuid4().hex
        status, _, said, fault = self._call("run", *flags, "--tag", f"test={tag}")
        self.account.launches.append(Launch(tag, what, status, said, fault=fault))

    def _retry(self) -> None:
        self._launch("retry", "--retry", self._failed.pop(), "--no-wait")

    def _launch_unending(self) -> str:
        """Launch a run that does not end by itself, without faults, and return its id."""
        done = self.project.invoke("run", "--asset", "slow", "--no-wait", "--json")
        assert done.returncode == 0, done.stderr
        (run,) = json.loads(done.stdout)["runs"]
        return str(run["run_id"])

    def _cancel(self) -> None:
        status, *_ = self._call("run", "--cancel", self._unending)
        if status == 0:
            self.account.cancelled.append(self._unending)

    def _export(self, *flags: str) -> None:
        if flags:  # retention, which may remove what was reported before
            self.account.exported.clear()
        formats = ("--format", "html", "--format", "md", "--workers", "2", "--json")
        status, stdout, *_ = self._call("export", "--all", *formats, *flags)
        if status >= 0 and stdout:
            done = [each for each in json.loads(stdout)["exports"] if each["status"] == "ok"]
            self.account.exported.append([file for each in done for file in each["files"]])

    def settle(self) -> None:
        """Check the account: without faults now, call everything once more, and look around."""
        account = self.account
        for words in (
            ("export", "--all", "--format", "html"), ("discover", "--refresh"), ("stats",),
            ("scaffold", "--asset", "raw/orders", "--force"), ("run", "--asset", "raw/orders"),
        ):  # fmt: skip
            done = self.project.invoke(*words, timeout=DEADLINE)
            if done.returncode:
                account.wrong.append(f"after all, `{' '.join(words)}` fails: {done.stderr}")
        self._check_launches()
        self._check_files()
        self._check_rest()

    def _check_launches(self) -> None:
        account = self.account
        account.counts["launches wanted"] = len(account.launches)
        for launch in account.launches:
            if launch.what == "backfill":
                found = backfills_tagged(self._client, launch.tag)
            else:
                found = runs_tagged(self._client, launch.tag)
            account.counts["launched"] += len(found)
            # These know that it was launched, or that it was not; with the others it is open, but
            # never twice.
            sure = launch.status in (0, 4)
            refused = launch.status in REFUSED
            account.counts["reported as launched" if sure else f"status {launch.status}"] += 1
            if not sure:
                account.counts["launched, and not reported"] += bool(found)
            if len(found) > 1 or (sure and not found) or (refused and found):
                account.wrong.append(f"launched {len(found)} times: {launch}")
        for run_id in account.cancelled:
            self._await(
                lambda run_id=run_id: self._status(run_id) == "CANCELED", f"end of {run_id}"
            )
        account.counts["cancelled"] = len(account.cancelled)

    def _status(self, run_id: str) -> str:
        return str(self._client.query("RunState", id=run_id)["runOrError"]["status"])

    def _check_files(self) -> None:
        """Check the user's files, and that each export is either complete or gone."""
        account, now = self.account, self._files()
        account.counts["files of the user"] = len(self._mine)
        for name, data in self._mine.items():
            if now.get(name) != data:
                account.wrong.append(f"{name} was changed or lost")
        exports = self.root / ".dagmar/exports"
        try:
            account.counts["complete exports"] = assert_whole(exports)
        except AssertionError as error:
            account.wrong.append(f"an export is not complete: {error}")
        kept = {str(file) for file in exports.rglob("*") if file.is_file()}
        for number, files in enumerate(account.exported):
            account.counts["files of reported exports"] += len(files)
            if missing := [file for file in files if file not in kept]:
                account.wrong.append(f"export {number} was reported, and is gone: {missing}")
        for home in exports.glob("*/*/"):
            if manifests.FOLDER.fullmatch(home.name) and manifests.read(home) is None:
                account.wrong.append(f"{home} has no manifest that can be read")

    def _check_rest(self) -> None:
        """Check that no process is left, and no file that nothing would remove."""
        self._await(lambda: not tagged(self._processes), "end of all processes")
        left = [
            name for name in self._files()
            if name not in self._mine and any(map(UNFINISHED.fullmatch, Path(name).parts))
        ]  # fmt: skip
        self.account.counts["unfinished files left"] = len(left)
        if left:
            self._check_swept(left)

    def _check_swept(self, left: list[str]) -> None:
        """Check that `invoke clean` removes what killed processes left, once it is old enough."""
        old = time.time() - 7_200
        for name in left:
            for path in (self.root / name, *(self.root / name).parents):
                if path != self.root and path.is_relative_to(self.root):
                    os.utime(path, (old, old))
        done = self.project.invoke("clean", "--yes")
        now = self._files()
        if done.returncode or (stuck := [name for name in left if name in now]):
            self.account.wrong.append(f"nothing removes {stuck}: {done.stdout}{done.stderr}")

    def _await(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                self.account.wrong.append(f"no {what} within {DEADLINE:g} s")
                return
            time.sleep(0.2)
