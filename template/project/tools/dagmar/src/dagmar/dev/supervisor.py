"""`invoke dev`: runs Dagster and marimo side by side, and ends every process of both."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar import console
from dagmar.dev import environment, own_dagster, servers
from dagmar.dev.editor import Editor
from dagmar.dev.logs import LogFile, plain
from dagmar.dev.ports import free_port, refused
from dagmar.dev.processes import Child, add_mark, marked
from dagmar.dev.reporter import Reporter, Stages, open_pages
from dagmar.dev.reports_server import ReportsServer
from dagmar.dev.servers import (
    DAGSTER,
    FOREIGN,
    MARIMO,
    ReadinessProbe,
    Server,
    lost_port,
    says_busy,
)
from dagmar.dev.session import Session
from dagmar.errors import (
    Conflict,
    DagmarError,
    ServerEnded,
    SetupError,
    UsageError,
    did_you_mean,
)
from dagmar.project import devfile
from dagmar.project.environ import read_environ
from dagmar.project.layout import EXPORTS, LOGS

if TYPE_CHECKING:
    from dagmar.project.settings import Settings

PORT_TRIES = 5
TICK_SECONDS = 1.0
SAME_SECONDS = 0.5
SILENT_TICKS = 3
# Together with the guard's clean-up less than ten seconds.
CANCEL_SECONDS = 3.0
ORDERLY_SECONDS = 4.5
TERMINATE_SECONDS = 1.0

# From other threads to the main one: a name, the server, and the child that it is about.
Message = tuple[str, Any, Any]


@dataclass(frozen=True)
class DevRequest:
    """The flags of `invoke dev`. Raises UsageError if they contradict each other."""

    notebook: str = ""
    dagster_port: int | None = None
    marimo_port: int | None = None
    open: bool = True
    env_file: str = ""
    dagster: bool = True
    marimo: bool = True
    once: bool = False
    log_level: str = ""

    def __post_init__(self) -> None:
        levels = environment.LOG_LEVELS
        if not (self.dagster or self.marimo):
            raise UsageError("--no-dagster and --no-marimo leave nothing to start")
        if self.notebook and not self.marimo:
            raise UsageError("--notebook needs marimo", "Leave --no-marimo out.")
        if self.dagster_port and self.dagster_port == self.marimo_port:
            raise UsageError("--dagster-port and --marimo-port are the same")
        if self.log_level and self.log_level not in levels:
            meant = did_you_mean(self.log_level, levels)
            raise UsageError(f"--log-level must be one of {', '.join(levels)}{meant}")


class Supervisor:
    """Starts the servers, watches them, and ends every process that they started."""

    def __init__(self, settings: Settings, request: DevRequest, reporter: Reporter) -> None:
        """Keep what `run` needs; nothing is started yet."""
        self._settings = settings
        self._request = request
        self._reporter = reporter
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._signalled_at = 0.0
        self._servers: list[Server] = []
        self._logs: dict[str, LogFile] = {}
        self._editor: Editor | None = None
        self._reports: ReportsServer | None = None
        self._helpers: list[subprocess.Popen[str]] = []
        self._environ: dict[str, str] = {}
        self._home = Path()
        self._started_at = devfile.now()
        self._stages = Stages(reporter)
        self._began_at = time.time()

    def run(self) -> None:
        """Run until a signal, until a server ends, or, with `once`, until all are ready.

        Raises KeyboardInterrupt for a signal; SetupError, ServerEnded, TimedOut, Conflict.
        """
        self._environ = read_environ(
            self._settings.root, self._request.env_file, os.environ, console.warn
        )
        self._session = Session(self._settings.root)
        with self._signals_handled():
            try:
                self._session.open()
                self._prepare()
                for server in self._servers:
                    self._start(server)
                self._watch()
            except OSError as error:
                place = error.filename or self._settings.root
                raise SetupError(f"{place} cannot be used: {error.strerror}") from None
            finally:
                self._stop()

    @contextlib.contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Turn signals into messages. Children then start with the default handlers."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        # One Ctrl-C may arrive twice: from the terminal, and passed on by `uv run`.
        if self._signals and time.monotonic() - self._signalled_at < SAME_SECONDS:
            return
        self._signalled_at = time.monotonic()
        self._signals.append(number)
        self._messages.put(("signal", None, None))

    def _prepare(self) -> None:
        """Decide which servers to start, with which environment and ports."""
        root, request = self._settings.root, self._request
        self._home = environment.dagster_home(root, self._environ)
        scratch = self._session.scratch
        self._environ = add_mark(
            {
                **self._environ,
                "DAGSTER_HOME": str(self._home),
                # Sockets and folders that killed servers leave behind go with the scratch folder.
                "TMPDIR": str(scratch),
                "PYTHONUNBUFFERED": "1",
                "MARIMO_SKIP_UPDATE_CHECK": "1",
            },
            self._session.mark,
        )
        if request.dagster:
            port = request.dagster_port or servers.DAGSTER_PORT
            self._servers.append(servers.dagster(root, port, request.log_level))
        if request.marimo:
            folder = self._settings.notebooks
            folder.mkdir(parents=True, exist_ok=True)
            self._editor = Editor(folder, request.notebook, scratch, self._session.page)
            self._editor.write_token()
            port = request.marimo_port or servers.MARIMO_PORT
            self._servers.append(servers.marimo(self._editor, port, request.log_level))
        for server in self._servers:  # raises for a missing package before anything starts
            server.command(server.wanted)
            file = root / LOGS / f"{server.name}.log"
            self._logs[server.name] = LogFile(file, self._reporter.warn)
        for server in self._servers:
            server.port = free_port(server.wanted, self._ports())
            if server.port != server.wanted:
                self._stages.taken(server, server.wanted)
        exports = root / EXPORTS
        exports.mkdir(parents=True, exist_ok=True)
        self._reports = ReportsServer(exports, self._ports())
        self._reports.start()

    def _ports(self) -> set[int]:
        return {server.port for server in self._servers}

    def _start(self, server: Server) -> None:
        server.tries += 1
        child = Child(server.command(server.port), self._settings.root, self._environ)
        server.child = child
        child.start(
            lambda line: self._printed(server, child, line),
            lambda child, status: self._messages.put(("ended", server, (child, status))),
        )
        self._session.add(child.session)
        self._write_devfile()
        server.probe = ReadinessProbe(
            self._session.mark, server, lambda what: self._messages.put((what, server, child))
        )
        server.probe.start()
        self._stages.starting(server, child.session)

    def _printed(self, server: Server, child: Child, line: str) -> None:
        """Pass a line on; called from the child's thread."""
        line = self._without_token(line)
        if line.strip():
            self._reporter.line(server.name, line)
        self._logs[server.name].write(plain(line))
        if not server.ready and server.child is child:
            if says_busy(line):  # Dagster prints this and does not exit
                self._messages.put(("busy", server, (child, line)))
            elif server.loads(line):
                self._messages.put(("loading", server, child))

    def _without_token(self, line: str) -> str:
        return self._editor.without_token(line) if self._editor else line

    def _write_devfile(self) -> None:
        urls = {f"{server.name}_url": server.url for server in self._servers}
        if self._reports:
            urls["reports_url"] = self._reports.url
        if self._request.env_file:
            urls["env_file"] = str(Path(self._request.env_file).resolve())
        self._session.write_devfile(devfile.Running(os.getpid(), self._started_at, **urls))

    def _watch(self) -> None:
        """Handle messages until a signal or a failure; with `once`, return when all are ready."""
        while True:
            try:
                what, server, about = self._messages.get(timeout=TICK_SECONDS)
            except queue.Empty:
                self._tick()
                continue
            if what == "signal":
                raise KeyboardInterrupt
            if what == "looked":
                if self._request.once:
                    own_dagster.require_loaded(about)
                    return
                if isinstance(about, Exception):
                    self._reporter.warn(str(about).partition("\n")[0])
            elif what == "ended":
                child, status = about
                if server.child is child:
                    self._ended(server, child, status)
            elif what == "busy":
                child, line = about
                if server.child is child and not server.ready and self._lost_port(server, line):
                    self._move(server)
            elif server.child is about and not server.ready:
                if what == "loading":
                    self._stages.loading(server)
                elif what == FOREIGN:
                    self._move(server)
                else:
                    self._is_ready(server)

    def _is_ready(self, server: Server) -> None:
        server.ready = True
        self._stages.ready(server)
        if all(other.ready for other in self._servers):
            self._announce()
            self._look()

    def _tick(self) -> None:
        self._session.keep_guard(self._reporter.warn)
        self._stages.waiting(self._servers)

        for server in self._servers:
            # `dg dev` may go on without its webserver.
            server.silent = server.silent + 1 if server.ready and refused(server.port) else 0
            if server.child and server.silent == SILENT_TICKS:
                self._fail(server, server.child, "does not listen any more")

    def _lost_port(self, server: Server, line: str) -> bool:
        return lost_port(self._session.mark, server.port, line)

    def _ended(self, server: Server, child: Child, status: int) -> None:
        """Start a server again if its port was taken at the last moment; else raise."""
        busy = [line for line in child.last if says_busy(line)]
        if not server.ready and any(self._lost_port(server, line) for line in busy):
            self._move(server)
            return
        reason = f"status {status}" if status >= 0 else f"signal {-status}"
        when = "" if server.ready else " before it was ready"
        self._fail(server, child, f"ended{when} ({reason})", status)

    def _fail(self, server: Server, child: Child, how: str, status: int | None = None) -> None:
        """Raise the error that stops everything: a server is gone."""
        lines = [plain(self._without_token(line)) for line in child.last if line.strip()]
        self._reporter.event("ended", server=server.name, status=status, last_lines=lines)
        tail = "".join(f"\n  {line}" for line in lines)
        error = ServerEnded if server.ready else SetupError
        raise error(
            f"{server.title} {how}. The last lines it printed:{tail}",
            f"Its whole output is in .dagmar/logs/{server.name}.log.",
        )

    def _move(self, server: Server) -> None:
        """Start a server again on the next free port: another program has this one."""
        if server.probe:
            server.probe.stop()
        child, server.child = server.child, None
        if child:
            child.send_all(signal.SIGKILL)
            self._session.discard(child.session)
        if server.tries >= PORT_TRIES:
            raise Conflict(
                f"port after port was taken while {server.title} was starting",
                "Choose another one:",
                command=f"invoke dev --{server.name}-port N",
            )
        taken = server.port
        server.port = free_port(taken + 1, self._ports())
        self._stages.taken(server, taken)
        self._start(server)

    def _announce(self) -> None:
        """Report that all is ready, with the addresses, and open them in a browser."""
        assert self._reports
        if self._editor:
            (marimo,) = (server for server in self._servers if server.name == MARIMO)
            self._editor.write_page(marimo.port)
        once = self._request.once
        pages = self._stages.all_ready(self._servers, self._editor, self._reports.url, once)
        if self._request.open and not once and not self._reporter.json:
            open_pages(pages)

    def _look(self) -> None:
        """Check, in a thread, the code locations and the runs that an earlier Dagster left."""
        url = next((server.url for server in self._servers if server.name == DAGSTER), None)

        def look() -> None:
            looked: dict[str, str] | Exception = {}
            try:
                if url:
                    before, helpers = self._began_at, self._helpers
                    looked = own_dagster.look(
                        url, self._home, before, self._environ, self._reporter, helpers.append
                    )
            except Exception as error:  # --once waits for it
                looked = error
            self._messages.put(("looked", None, looked))

        threading.Thread(target=look, daemon=True).start()

    def _stop(self) -> None:
        """End everything: runs, then the servers in order, then by force all that still runs."""
        began = any(server.child for server in self._servers)
        if began:
            reason = signal.Signals(self._signals[0]).name if self._signals else None
            self._reporter.event("stopping", "Stopping …", signal=reason)
        try:
            if self._reports:
                self._reports.stop()
            self._stop_in_order(len(self._signals))
        finally:
            gone = self._session.close()
            for log in self._logs.values():
                log.close()
        if not gone:
            self._reporter.warn("some processes could not be ended; `ps -ef` shows them")
        elif began:
            self._reporter.event("stopped", "Stopped; no process is left.")

    def _stop_in_order(self, asked: int) -> None:
        """Cancel runs and stop the servers; return early if the user signals again."""
        for server in self._servers:
            if server.probe:
                server.probe.stop()
        for helper in self._helpers:
            helper.terminate()
        # The webserver may still answer, and runs go on, when `dg dev` itself is gone.
        answering = [server for server in self._servers if server.name == DAGSTER and server.ready]
        if answering:
            cancelling = threading.Thread(target=self._cancel_runs, args=answering, daemon=True)
            cancelling.start()
            self._until(lambda: not cancelling.is_alive(), CANCEL_SECONDS, asked)
        for server in self._servers:
            if server.child and server.child.running:
                # Dagster ends its own children; those of marimo die with it.
                server.child.send(signal.SIGINT if server.name == DAGSTER else signal.SIGTERM)
            elif server.child:
                server.child.send_all(signal.SIGTERM)
        if not self._until(self._gone, ORDERLY_SECONDS, asked):
            for server in self._servers:
                if server.child:
                    server.child.send_all(signal.SIGTERM)
            self._until(self._gone, TERMINATE_SECONDS, asked)

    def _cancel_runs(self, server: Server) -> None:
        count = own_dagster.cancel_runs(server.url, self._session.scratch)
        if count:
            text = f"Cancelled {count} run{'s' * (count > 1)} in progress."
            self._reporter.event("runs_cancelled", text, count=count)

    def _gone(self) -> bool:
        return not marked(self._session.mark)

    def _until(self, done: Callable[[], bool], seconds: float, asked: int) -> bool:
        """Wait until `done`; no longer than `seconds` or until the user signals again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and len(self._signals) <= asked:
            if done():
                return True
            time.sleep(0.05)
        return False


def dev(settings: Settings, request: DevRequest, json: bool) -> None:
    """Run `invoke dev`. Raises KeyboardInterrupt for a signal, and what `Supervisor.run` does."""
    with Reporter(json, request.log_level) as reporter:
        try:
            Supervisor(settings, request, reporter).run()
        except DagmarError as error:
            reporter.event(
                "failed", message=error.message, hint=error.suggestion, status=error.exit_code
            )
            raise
