"""`invoke dev`: runs Dagster and marimo side by side, and ends every process of both."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from dagmar import console
from dagmar.dev import environment, own_dagster
from dagmar.dev.editor import Editor
from dagmar.dev.logs import LogFile, plain
from dagmar.dev.ports import free_port, refused
from dagmar.dev.processes import Child, add_mark, end_all, marked
from dagmar.dev.reloads import Reloads
from dagmar.dev.reporter import Reporter, open_pages
from dagmar.dev.reports_server import ReportsServer
from dagmar.dev.resources import Resources
from dagmar.dev.servers import (
    DAGSTER,
    FOREIGN,
    LOADING,
    MARIMO,
    Server,
    lost_port,
    probe,
    says_busy,
)
from dagmar.dev.session import Session
from dagmar.errors import (
    Conflict,
    ServerEnded,
    SetupError,
    TimedOut,
    UsageError,
    counted,
    did_you_mean,
)
from dagmar.failure import Failure
from dagmar.project import devfile
from dagmar.project.environ import HOME, read_environ
from dagmar.project.layout import EXPORTS, LOGS, make_folder

if TYPE_CHECKING:
    from dagmar.project.settings import Settings

PORT_TRIES = 5
TICK_SECONDS = 1.0
SAME_SECONDS = 0.5
SILENT_TICKS = 3
START_SECONDS = 300.0
PATIENCE_SECONDS = 20.0
# How often Dagster is started again if it ends by itself, within how many seconds.
RESTARTS, RESTARTS_SECONDS = 3, 300.0
# What marimo prints if it watches notebooks and saves them, which tests/browser/test_dev.py tries.
EXPECTED = "Enabling watch mode may interfere with auto-save"
# Together with the guard's clean-up less than ten seconds.
CANCEL_SECONDS = 3.0
ORDERLY_SECONDS = 4.5
TERMINATE_SECONDS = 1.0


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
    watch: bool = False
    reload: bool = True
    log_level: str = ""

    def __post_init__(self) -> None:
        levels = environment.LOG_LEVELS
        if not (self.dagster or self.marimo):
            message = "--no-dagster and --no-marimo leave nothing to start"
            raise UsageError(message, "Leave one of them out.")
        if self.notebook and not self.marimo:
            raise UsageError("--notebook needs marimo", "Leave --no-marimo out.")
        if self.dagster_port and self.dagster_port == self.marimo_port:
            hint = "Leave one of them out: a free port is chosen for it."
            raise UsageError("--dagster-port and --marimo-port are the same", hint)
        if self.log_level and self.log_level not in levels:
            meant = did_you_mean(self.log_level, levels)
            message = f"there is no --log-level {self.log_level}{meant}"
            raise UsageError(message, f"The levels: {', '.join(levels)}.")


class Supervisor:
    """Starts the servers, watches them, and ends every process that they started."""

    def __init__(self, settings: Settings, request: DevRequest, reporter: Reporter) -> None:
        """Keep what `run` needs; nothing is started yet."""
        self._settings = settings
        self._request = request
        self._reporter = reporter
        # What other threads, and signals, have the main thread do.
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._signalled_at = 0.0
        self._servers: dict[str, Server] = {}
        self._logs: dict[str, LogFile] = {}
        self._editor: Editor | None = None
        self._reports: ReportsServer | None = None
        self._reloads: Reloads | None = None
        self._helpers: list[subprocess.Popen[str]] = []
        self._environ: dict[str, str] = {}
        self._started_at = devfile.now()
        self._began_at = time.time()
        self._began = time.monotonic()
        self._patient = PATIENCE_SECONDS
        self._resources = Resources()
        self._looked_at = self._began
        self._announced = False
        self._done = False

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
                if self._reloads:
                    self._reloads.start()
                for server in self._servers.values():
                    self._start(server)
                self._watch()
            except OSError as error:
                place = error.filename or self._settings.root
                hint = "Check its permissions, and the space that is left there (`df -h`)."
                raise SetupError(f"{place} cannot be used: {error.strerror}", hint) from None
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # One Ctrl-C may arrive twice: from the terminal, and passed on by `uv run`.
        if self._signals and time.monotonic() - self._signalled_at < SAME_SECONDS:
            return
        self._signalled_at = time.monotonic()
        self._signals.append(number)
        self._calls.put(lambda: signal.default_int_handler(number, frame))  # KeyboardInterrupt

    def _prepare(self) -> None:
        """Decide which servers to start, with which environment and ports."""
        root, request = self._settings.root, self._request
        scratch = self._session.scratch
        self._environ = add_mark(
            {
                **self._environ,
                HOME: str(environment.dagster_home(root, self._environ)),
                # Sockets and folders that killed servers leave behind go with the scratch folder.
                "TMPDIR": str(scratch),
                "PYTHONUNBUFFERED": "1",
                "MARIMO_SKIP_UPDATE_CHECK": "1",
            },
            self._session.mark,
        )
        commands: dict[str, Callable[[int], list[str]]] = {}
        level = request.log_level
        if request.dagster:
            commands[DAGSTER] = lambda port: environment.dagster_command(root, port, level)
        if request.marimo:
            folder = self._settings.notebooks
            folder.mkdir(parents=True, exist_ok=True)
            self._editor = editor = Editor(folder, request.notebook, scratch, self._session.page)
            commands[MARIMO] = lambda port: environment.marimo_command(
                editor.target, port, editor.token_file, level
            )
        wanted = {DAGSTER: request.dagster_port or 3000, MARIMO: request.marimo_port or 2718}
        for name, command in commands.items():
            command(wanted[name])  # raises for what is missing or wrong before anything starts
            self._logs[name] = LogFile(root / LOGS / f"{name}.log", self._reporter.warn)
        if request.dagster and request.reload and not request.once:
            self._watch_code(Path(request.env_file) if request.env_file else None)
        for name, command in commands.items():
            port = free_port(wanted[name], self._ports())
            self._servers[name] = Server(name, command, port)
            if port != wanted[name]:
                self._reporter.event("port_taken", server=name, wanted=wanted[name], port=port)
        exports = root / EXPORTS
        make_folder(exports)
        self._reports = ReportsServer(exports, self._ports())

    def _watch_code(self, env_file: Path | None) -> None:
        try:
            self._reloads = Reloads(self._settings.root, env_file, self._reporter)
        except SetupError as error:
            self._reporter.warn(f"nothing is reloaded on save: {error.message}")

    def _ports(self, but: Server | None = None) -> set[int]:
        return {server.port for server in self._servers.values() if server is not but}

    def _mark_of(self, server: Server) -> str:
        """Return the mark of one server's processes, which also have that of the session."""
        return f"{self._session.mark}-{server.name}"

    def _start(self, server: Server) -> None:
        server.tries += 1
        environ = add_mark(self._environ, self._mark_of(server))
        child = Child(server.command(server.port), self._settings.root, environ)
        server.child = child
        child.watch(
            lambda line: self._printed(server, child, line),
            lambda status: self._calls.put(lambda: self._ended(server, child, status)),
        )
        self._session.add(child.session)
        self._write_devfile()
        threading.Thread(target=self._probe, args=(server, child), daemon=True).start()
        self._reporter.event("starting", server=server.name, port=server.port, pid=child.session)

    def _probe(self, server: Server, child: Child) -> None:
        mark = self._session.mark
        if found := probe(mark, server, lambda: server.child is child and not self._done):
            self._call(server, child, self._move if found == FOREIGN else self._is_up)

    def _printed(self, server: Server, child: Child, line: str) -> None:
        """Pass a line on; called from the child's thread."""
        line = self._without_token(line)
        if line.strip() and EXPECTED not in line:
            self._reporter.line(server.name, line)
        self._logs[server.name].write(plain(line))
        if not server.ready and server.child is child:
            if says_busy(line):  # Dagster prints this and does not exit
                self._call(server, child, lambda server: self._move_if_lost(server, [line]))
            elif server.name == DAGSTER and LOADING in line:
                self._call(server, child, self._loads)

    def _call(self, server: Server, child: Child, act: Callable[[Server], object]) -> None:
        """Let the main thread act on a server, if this child of it is still starting then."""

        def call() -> None:
            if server.child is child and not server.ready:
                act(server)

        self._calls.put(call)

    def _without_token(self, line: str) -> str:
        return self._editor.without_token(line) if self._editor else line

    def _urls(self) -> dict[str, str]:
        urls = {f"{name}_url": server.url for name, server in self._servers.items()}
        return {**urls, "reports_url": self._reports.url} if self._reports else urls

    def _write_devfile(self) -> None:
        facts = {**self._urls(), "dagster_home": self._environ[HOME]}
        if self._request.env_file:
            facts["env_file"] = str(Path(self._request.env_file).resolve())
        self._session.write_devfile(devfile.Running(os.getpid(), self._started_at, **facts))

    def _watch(self) -> None:
        """Work until a signal or a failure raises; with `once`, until all are ready."""
        while not self._done:
            try:
                call = self._calls.get(timeout=TICK_SECONDS)
            except queue.Empty:
                call = self._tick
            call()

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 3)

    def _loads(self, server: Server) -> None:
        self._reporter.event("loading", server=server.name, seconds=self._seconds())

    def _is_up(self, server: Server) -> None:
        server.ready = server.was_ready = True
        seconds = self._seconds()
        self._reporter.event("server_ready", server=server.name, url=server.url, seconds=seconds)
        if self._reloads and server.name == DAGSTER:
            self._reloads.ready(server.url)
        if all(other.ready for other in self._servers.values()):
            if not self._announced:
                self._announced = True
                self._announce()
            self._look()

    def _tick(self) -> None:
        self._session.keep_guard(self._reporter.warn)
        self._report_late()
        for server in self._servers.values():
            # `dg dev` may go on without its webserver.
            server.silent = server.silent + 1 if server.ready and refused(server.port) else 0
            if server.child and server.silent == SILENT_TICKS:
                self._lost(server, server.child, "does not listen any more")
        now = time.monotonic()
        if self._request.watch and now - self._looked_at >= self._reporter.watch_seconds:
            self._looked_at = now
            children = {name: server.child for name, server in self._servers.items()}
            pids = {name: child.session for name, child in children.items() if child}
            self._reporter.used(self._resources.read(pids))

    def _report_late(self) -> None:
        """Report every PATIENCE_SECONDS which servers are not ready yet. Raises TimedOut."""
        late = [server for server in self._servers.values() if not server.ready]
        seconds = self._seconds()
        if not late or seconds < self._patient:
            return
        titles = " and ".join(server.title for server in late)
        if seconds > START_SECONDS:
            raise TimedOut(
                f"{titles} did not get ready within {START_SECONDS:g} s",
                "The logs are in .dagmar/logs/.",
            )
        self._patient = seconds + PATIENCE_SECONDS
        text = f"Still waiting for {titles} ({seconds:.0f} s); the logs are in .dagmar/logs/."
        names = [server.name for server in late]
        self._reporter.event("waiting", text, servers=names, seconds=seconds)

    def _move_if_lost(self, server: Server, lines: Iterable[str]) -> bool:
        """Start a server again if its port was taken at the last moment, as lines say."""
        lost = any(lost_port(self._session.mark, server.port, line) for line in lines)
        if lost:
            self._move(server)
        return lost

    def _ended(self, server: Server, child: Child, status: int) -> None:
        """Raise for a server that has ended, unless it lost its port."""
        if server.child is not child:
            return
        if not server.ready and self._move_if_lost(server, list(child.last)):
            return
        reason = f"status {status}" if status >= 0 else f"signal {-status}"
        when = "" if server.ready else " before it was ready"
        self._lost(server, child, f"ended{when} ({reason})", status)

    def _lost(self, server: Server, child: Child, how: str, status: int | None = None) -> None:
        """Start a Dagster again that is gone; else raise the error that stops everything."""
        lines = [plain(self._without_token(line)) for line in child.last if line.strip()]
        self._reporter.event("ended", server=server.name, status=status, last_lines=lines)
        tail = "".join(f"\n  {line}" for line in lines)
        message = f"{server.title} {how}. The last lines it printed:{tail}"
        now = time.monotonic()
        server.restarts = [at for at in server.restarts if now - at < RESTARTS_SECONDS]
        once = self._request.once
        if server.name == DAGSTER and server.was_ready and not once:
            if len(server.restarts) < RESTARTS:
                server.restarts.append(now)
                self._restart(server, child, message)
                return
            message = f"Dagster was started {RESTARTS} times again, and ended. {message}"
        error = ServerEnded if server.was_ready else SetupError
        raise error(message, f"Its whole output is in .dagmar/logs/{server.name}.log.")

    def _restart(self, server: Server, child: Child, message: str) -> None:
        """Start a server again after the end of all its processes, on the same port if it is free.

        The processes of other servers go on: kernels keep their state.
        """
        attempt = len(server.restarts)
        minutes = RESTARTS_SECONDS / 60
        text = f"{message}\nStarting it again ({attempt} of {RESTARTS} in {minutes:.0f} minutes)."
        self._reporter.event("restarting", text, server=server.name, attempt=attempt)
        if self._reloads:
            self._reloads.ready("")
        server.child, server.ready, server.silent, server.tries = None, False, 0, 0
        end_all(self._mark_of(server), [child.session])
        self._session.discard(child.session)
        # Runs from before this moment died with it.
        self._began, self._began_at = time.monotonic(), time.time()
        self._patient = PATIENCE_SECONDS
        wanted, server.port = server.port, free_port(server.port, self._ports(server))
        if server.port != wanted:
            self._reporter.event("port_taken", server=server.name, wanted=wanted, port=server.port)
        self._start(server)

    def _move(self, server: Server) -> None:
        """Start a server again on the next free port: another program has this one."""
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
        wanted, server.port = server.port, free_port(server.port + 1, self._ports())
        self._reporter.event("port_taken", server=server.name, wanted=wanted, port=server.port)
        self._start(server)

    def _announce(self) -> None:
        """Report that all is ready, with the addresses, and open them in a browser."""
        once = self._request.once
        self._reporter.ready()
        fields = self._urls()
        places = {server.title: server.url for server in self._servers.values()}
        pages = {name: server.url for name, server in self._servers.items()}
        if self._editor:
            self._editor.write_page(self._servers[MARIMO].port)
            pages[MARIMO] = fields["marimo_page"] = page = self._editor.page.as_uri()
            places[MARIMO] = f"{page}  (at {fields['marimo_url']}, logs you in)"
            if pair := self._editor.pair_command(self._settings.root, fields["marimo_url"]):
                places["Agents"] = fields["marimo_pair"] = pair
        places["Reports"] = fields["reports_url"]
        seconds = self._seconds()
        lines = [f"Ready after {seconds:.1f} s.", ""]
        lines += [f"  {name:8} {place}" for name, place in places.items()]
        lines += [] if once else ["", "Ctrl-C stops everything."]
        self._reporter.event("ready", "\n".join(lines), **fields, seconds=seconds)
        if self._request.open and not once and not self._reporter.json:
            open_pages(pages.values())

    def _look(self) -> None:
        """Check, in a thread, the code locations and the runs that an earlier Dagster left."""
        dagster, helpers = self._servers.get(DAGSTER), self._helpers

        def look() -> None:
            looked: dict[str, Failure] | Exception = {}
            try:
                if dagster:
                    looked = own_dagster.look(
                        self._settings.root,
                        dagster.url,
                        self._began_at,
                        self._environ,
                        self._reporter,
                        helpers.append,
                    )
            except Exception as error:  # --once waits for it
                looked = error
            self._calls.put(lambda: self._looked(looked))

        threading.Thread(target=look, daemon=True).start()

    def _looked(self, looked: dict[str, Failure] | Exception) -> None:
        if self._request.once:
            own_dagster.require_loaded(self._settings.root, looked)
            self._done = True
        elif isinstance(looked, Exception):
            self._reporter.warn(str(looked).partition("\n")[0])

    def _stop(self) -> None:
        """End everything: runs, then the servers in order, then by force all that still runs."""
        self._done = True
        began = any(server.child for server in self._servers.values())
        if began:
            reason = signal.Signals(self._signals[0]).name if self._signals else None
            self._reporter.event("stopping", signal=reason)
        try:
            if self._reloads:
                self._reloads.stop()
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
            self._reporter.event("stopped")

    def _stop_in_order(self, asked: int) -> None:
        """Cancel runs and stop the servers; return early if the user signals again."""
        for helper in self._helpers:
            helper.terminate()
        # The webserver may still answer, and runs go on, when `dg dev` itself is gone.
        dagster = self._servers.get(DAGSTER)
        if dagster and dagster.ready:
            cancelling = threading.Thread(target=self._cancel_runs, args=(dagster,), daemon=True)
            cancelling.start()
            self._until(lambda: not cancelling.is_alive(), CANCEL_SECONDS, asked)
        children = [(name, server.child) for name, server in self._servers.items() if server.child]
        for name, child in children:
            if child.running:
                # Dagster ends its own children; those of marimo die with it.
                child.send(signal.SIGINT if name == DAGSTER else signal.SIGTERM)
            else:
                child.send_all(signal.SIGTERM)
        if not self._until(self._gone, ORDERLY_SECONDS, asked):
            for _, child in children:
                child.send_all(signal.SIGTERM)
            self._until(self._gone, TERMINATE_SECONDS, asked)

    def _cancel_runs(self, server: Server) -> None:
        if count := own_dagster.cancel_runs(server.url, self._session.scratch):
            text = f"Cancelled {counted(count, 'run')} in progress."
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
        Supervisor(settings, request, reporter).run()
