"""The parts of `invoke dev`, tested separately."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from dagmar import console
from dagmar.dev import environment, logs, own_dagster
from dagmar.dev.editor import Editor
from dagmar.dev.ports import free_port, refused, taken
from dagmar.dev.processes import MARK, Child, add_mark, end_all, listens, marked
from dagmar.dev.reporter import Reporter, may_open
from dagmar.dev.reports_server import ReportsServer
from dagmar.dev.resources import Resources
from dagmar.dev.servers import (
    DAGSTER,
    FOREIGN,
    MARIMO,
    READY,
    Server,
    is_healthy,
    lost_port,
    probe,
    says_busy,
)
from dagmar.dev.session import GUARD_TRIES, Session
from dagmar.dev.supervisor import DevRequest, Supervisor, dev
from dagmar.errors import (
    Conflict,
    Invalid,
    SetupError,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
    UsageError,
)
from dagmar.orchestration.instance import home
from dagmar.project import devfile
from dagmar.project.environ import named_home, read_environ
from dagmar.project.layout import DEV_FILE
from dagmar.project.settings import load
from dagster._cli.utils import get_possibly_temporary_instance_for_cli
from support import full_disk
from support.http_server import document, page, serve
from support.project import TASKS

SECONDS = 240.0
SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
# It starts a child in another session, without the mark, and prints its process id.
HIDDEN = """
import subprocess, sys, time
code = "import time; print('up', flush=True); time.sleep(600)"
hidden = subprocess.Popen([sys.executable, "-c", code], env={}, start_new_session=True)
print(hidden.pid, flush=True)
time.sleep(600)
"""
LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    assert end_all(mark) == []


def start(code: str, mark: str, **options: object) -> tuple[subprocess.Popen[str], str]:
    """Start Python with the mark, and return it with the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=add_mark(os.environ, mark),
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process runs and is not a zombie, according to /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Processes and their guard


def test_marked_processes_are_found_in_every_session_and_ended(mark: str) -> None:
    plain, _ = start(SLEEPER, mark)
    apart, _ = start(SLEEPER, mark, start_new_session=True)
    other, _ = start(SLEEPER, mark + "0")
    try:
        assert {process.pid for process in marked(mark)} == {plain.pid, apart.pid}
        assert end_all(mark) == []
        assert (plain.wait(), apart.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_descendant_without_the_mark_is_ended_with_its_parent(mark: str) -> None:
    parent, hidden = start(HIDDEN, mark)
    assert [process.pid for process in marked(mark)] == [parent.pid]
    assert end_all(mark) == []
    parent.wait()
    until(lambda: not runs(int(hidden)))


def test_an_inner_invoke_dev_keeps_the_outer_mark() -> None:
    assert add_mark({MARK: "outer"}, "inner") == {MARK: "outer:inner"}


SUPERVISOR = """
import os, subprocess, sys, time
from pathlib import Path
from dagmar.project import devfile
from dagmar.dev.processes import add_mark
from dagmar.dev.session import Session
session = Session(Path({root!r}))
session.open()
session.write_devfile(devfile.Running(os.getpid(), devfile.now()))
session.page.write_text("private")
(session.scratch / "file").touch()
env = add_mark(os.environ, session.mark)
child = subprocess.Popen(["sleep", "600"], env=env, start_new_session=True)
bare = subprocess.Popen(["sleep", "600"], env={{}}, start_new_session=True)
session.add(bare.pid)
print(child.pid, bare.pid, session._guard.pid, session.scratch, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_guard_outlives_its_supervisor_and_cleans_up(
    number: signal.Signals, tmp_path: Path
) -> None:
    process, line = start(SUPERVISOR.format(root=str(tmp_path)), "unused")
    child, bare, _, scratch = line.split()
    assert (tmp_path / ".dagmar/tmp/dev.json").exists()
    process.send_signal(number)
    process.wait()
    until(lambda: not runs(int(child)) and not runs(int(bare)))
    until(lambda: not Path(scratch).exists())
    until(lambda: not (tmp_path / ".dagmar/tmp/dev.json").exists())
    assert not (tmp_path / ".dagmar/tmp/marimo.html").exists()


def test_the_guard_needs_no_file_of_dagmar_once_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    shutil.copytree(Path(devfile.__file__).parents[1], source / "dagmar")
    monkeypatch.setenv("PYTHONPATH", str(source))
    process, line = start(SUPERVISOR.format(root=str(tmp_path)), "unused")
    child, bare, guard, scratch = line.split()
    until(lambda: "pipe" in Path(f"/proc/{guard}/wchan").read_text())
    source.rename(tmp_path / "switched")
    process.kill()
    process.wait()
    try:
        until(lambda: not runs(int(guard)))
        assert not runs(int(child))
        assert not runs(int(bare))
        assert not Path(scratch).exists()
    finally:
        for left in (child, bare):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(left), signal.SIGKILL)


def test_a_guard_that_was_killed_is_replaced(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.open()
    assert session._guard
    first = session._guard
    first.kill()
    first.wait()
    session.keep_guard(pytest.fail)
    assert session._guard.pid != first.pid
    sleeper, _ = start(SLEEPER, session.mark)
    assert session.close()
    assert sleeper.wait() == -signal.SIGKILL
    assert not session.scratch.exists()


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_a_guard_that_keeps_exiting_is_restarted_some_times_and_reported_once(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(tmp_path)
    session.open()
    guards = [session._guard]
    warnings: list[str] = []
    assert guards[0]
    guards[0].kill()
    monkeypatch.setattr(sys, "executable", program)
    for _ in range(4 * GUARD_TRIES):
        assert session._guard
        session._guard.wait()
        session.keep_guard(warnings.append)
        if session._guard is not guards[-1]:
            guards.append(session._guard)
    assert len(warnings) == 1
    assert "with Ctrl-C, not with kill -9" in warnings[0]
    assert len(guards) == (1 if "nowhere" in program else 1 + GUARD_TRIES)
    monkeypatch.undo()
    sleeper, _ = start(SLEEPER, session.mark)
    assert session.close()
    assert sleeper.wait() == -signal.SIGKILL
    assert not session.scratch.exists()


def test_what_a_supervisor_killed_with_its_guard_left_is_ended_at_the_next_start(
    tmp_path: Path,
) -> None:
    killed = Session(tmp_path)
    killed.open()
    sleeper, _ = start(SLEEPER, killed.mark)
    assert killed._guard
    killed._guard.kill()
    killed._guard.wait()
    os.close(killed._lock)
    assert killed.scratch.exists()

    session = Session(tmp_path)
    session.open()
    try:
        assert sleeper.wait(SECONDS) == -signal.SIGKILL
        assert not killed.scratch.exists()
    finally:
        assert session.close()
    assert [file.name for file in (tmp_path / ".dagmar/tmp").iterdir()] == [".gitignore"]


@pytest.mark.parametrize("note", ["{}", "{}/dagmar-x", "dagmar-0123456789abcdef"])
def test_an_invalid_note_of_a_session_removes_nothing(note: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / ".dagmar/tmp").mkdir(parents=True)
    (tmp_path / ".dagmar/tmp/session").write_text(note.format(mine), "utf-8")
    session = Session(tmp_path)
    session.open()
    assert session.close()
    assert mine.is_dir()


def test_a_disk_without_any_room_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "dev"], cwd=tmp_path, env=full_disk.environ(),
        capture_output=True, text=True, timeout=SECONDS, preexec_fn=lambda: full_disk.fill(0),
    )  # fmt: skip
    assert done.returncode == SetupError.exit_code
    message, hint = done.stderr.splitlines()
    assert "no temporary file can be written: " in message
    assert "export TMPDIR=DIR" in hint


def test_a_project_has_one_session_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagmar.dev.session.LOCK_SECONDS", 0.2)
    first = Session(tmp_path)
    try:
        with pytest.raises(Conflict, match="starting or ending"):
            Session(tmp_path)
        urls = {"dagster_url": "http://127.0.0.1:3456"}
        first.write_devfile(devfile.Running(os.getpid(), devfile.now(), **urls))
        with pytest.raises(Conflict, match=r"\(process \d+\): Dagster at http://127.0.0.1:3456"):
            Session(tmp_path)
    finally:
        first.close()
    Session(tmp_path).close()


# Ports and readiness


def test_the_next_free_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert taken(port)
        free = free_port(port)
        assert free != port
        assert free_port(free, avoid={free}) != free


def test_a_port_that_is_bound_on_all_addresses_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        assert free_port(port) != port


def test_a_port_is_refused_if_nobody_listens_but_not_if_the_listener_is_busy() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert refused(port)
        server.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # more than it takes while it accepts nobody
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            assert not refused(port)


def test_a_listener_is_known_by_its_mark(mark: str) -> None:
    process, port = start(LISTENER, mark)
    assert listens(mark, int(port))
    assert not listens(mark + "0", int(port))
    process.kill()
    process.wait()


def look(mark: str, port: int) -> str:
    """Return what a probe finds at the port."""
    deadline = time.monotonic() + SECONDS
    server = Server(DAGSTER, lambda port: [], port)
    return probe(mark, server, lambda: time.monotonic() < deadline)


def test_another_dagster_is_never_mistaken_for_ours(mark: str) -> None:
    with serve(document({"dagster_version": "1.13.27"})) as other:
        assert look(mark, other.port) == FOREIGN


def test_ours_is_ready_at_its_first_good_answer(mark: str) -> None:
    code = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if Handler.asked > 2 else 503)
        self.end_headers()
        self.wfile.write(b'{"dagster_version": "1"}')
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    process, port = start(code, mark)
    assert look(mark, int(port)) == READY
    process.kill()
    process.wait()


BUSY = "OSError: [Errno 98] Address already in use"


def test_a_line_about_a_busy_address_does_not_prove_that_the_port_is_lost(mark: str) -> None:
    assert says_busy(BUSY)
    process, port = start(LISTENER, mark)
    assert not lost_port(mark, int(port), BUSY)  # ours listens there
    process.kill()
    process.wait()
    assert not lost_port(mark, int(port), BUSY)  # nobody has it
    # As both servers say it: somebody had it a moment ago, and they have given up.
    uvicorn = f"error while attempting to bind on address ('127.0.0.1', {port}): {BUSY}"
    assert lost_port(mark, int(port), uvicorn)
    assert not lost_port(mark, int(port) + 1, uvicorn)


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_that_somebody_else_has_is_lost(listens: bool, mark: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        if listens:
            other.listen()
        assert lost_port(mark, other.getsockname()[1], BUSY)


@pytest.mark.parametrize("answer", [None, [], "ok", {}, {"status": "starting"}])
def test_other_answers_are_neither_dagster_nor_marimo(answer: object) -> None:
    assert not is_healthy(DAGSTER, answer)
    assert not is_healthy(MARIMO, answer)


# Children and what they print


def test_a_child_reports_its_lines_and_its_end(tmp_path: Path) -> None:
    lines: list[str] = []
    ended: list[int] = []
    code = "import sys; [print(i) for i in range(40)]; print('ü', file=sys.stderr); sys.exit(3)"
    child = Child([sys.executable, "-c", code], tmp_path, os.environ)
    child.watch(lines.append, ended.append)
    until(lambda: ended)
    assert ended == [3]
    assert sorted(lines) == sorted([*map(str, range(40)), "ü"])
    assert len(child.last) == 15
    assert not child.running


def test_a_program_that_does_not_exist_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be started: No such file"):
        Child(["/nowhere/dagster"], tmp_path, {})


def test_a_pipe_that_orphans_hold_does_not_hide_the_end(tmp_path: Path, mark: str) -> None:
    ended: list[int] = []
    code = "import subprocess; subprocess.Popen(['sleep', '600'])"
    child = Child([sys.executable, "-c", code], tmp_path, add_mark(os.environ, mark))
    child.watch(lambda _: None, ended.append)
    until(lambda: ended)
    assert ended == [0]


def test_colours_are_kept_and_control_sequences_removed() -> None:
    text = "\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07\x1b[1;1Hx\x1b7\rend\x00"
    assert logs.colored(text) == "\x1b[31mred\x1b[0m xend"
    assert logs.plain(text) == "red xend"


def test_logs_are_rotated_at_each_start_and_when_they_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    file = tmp_path / "logs" / "dagster.log"
    for start_number in range(3):
        log = logs.LogFile(file, pytest.fail)
        log.write(f"start {start_number}")
        log.close()
    assert file.read_text() == "start 2\n"
    assert (tmp_path / "logs/dagster.log.2").read_text() == "start 0\n"
    log = logs.LogFile(file, pytest.fail)
    for _ in range(1000):
        log.write("x" * 50)
    log.close()
    assert len(list(file.parent.iterdir())) == 1 + logs.BACKUPS
    assert all(log.stat().st_size <= 100 for log in file.parent.iterdir())


def test_a_log_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    (tmp_path / "full.log").symlink_to("/dev/full")
    log = logs.LogFile(tmp_path / "full.log", warnings.append)
    for _ in range(5):
        log.write("x")
    log.close()
    assert len(warnings) == 1
    assert warnings[0].endswith("full.log is not written any more: No space left on device")
    (tmp_path / "file").touch()
    logs.LogFile(tmp_path / "file" / "x.log", warnings.append).write("x")
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("All component YAML validated successfully.", False),
        ("\x1b[32m2026\x1b[0m - dagster - \x1b[34mINFO\x1b[0m - Launching ERROR", False),
        ("2026 - dagster - DEBUG - x", False),
        ("\x1b[32m2026\x1b[0m - dagster - \x1b[33mWARNING\x1b[0m - x", True),
        ("2026 - dagster.code_server - ERROR - x", True),
        ("INFO:     Started server process [1]", False),
        ("ERROR:    [Errno 98] error while attempting to bind", True),
        ("[I 261124 04:08:52 start:12] x", False),
        ("[W 261124 04:08:52 start:12] x", True),
        ("Traceback (most recent call last):", True),
        ("/x.py:3: DeprecationWarning: old", True),
        ("Error: No such option", True),
        ("ValueError: x", True),
        ("my own print", False),
    ],
)
def test_a_calm_start_shows_warnings_and_errors(line: str, shown: bool) -> None:
    assert logs.Calm().shows(DAGSTER, line) is shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026 - dagster - \x1b[34mDEBUG\x1b[0m - job - STEP_START - Started execution", False),
        ("[D 261124 04:08:52 start:12] x", False),
        ("what an asset prints", True),
        ("2026 - dagster - \x1b[34mINFO\x1b[0m - rows=3", True),
        ("2026 - dagster - ERROR - x", True),
    ],
)
def test_once_all_is_ready_a_calm_terminal_shows_all_but_debug(line: str, shown: bool) -> None:
    calm = logs.Calm()
    calm.shows(DAGSTER, "2026 - dagster - DEBUG - x")
    calm.ready = True
    assert calm.shows(DAGSTER, line) is shown


@pytest.mark.parametrize(
    ("terminal", "level", "before", "after"),
    [
        (True, "", ["error"], ["info", "error"]),
        (True, "info", ["info", "error"], ["info", "error"]),
        (True, "debug", ["debug", "info", "error"], ["debug", "info", "error"]),
        (False, "", ["debug", "info", "error"], ["debug", "info", "error"]),
    ],
)
def test_how_calm_it_is_depends_on_terminal_and_level(
    terminal: bool,
    level: str,
    before: list[str],
    after: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with Reporter(json=False, log_level=level) as reporter:
        for moment in ("starting", "ready"):
            for name in ("debug", "info", "error"):
                reporter.line(DAGSTER, f"2026 - dagster - {name.upper()} - {moment}")
            reporter.ready()
    shown = re.findall(r"(DEBUG|INFO|ERROR) - (\w+)", capsys.readouterr().err)
    assert [name.lower() for name, moment in shown if moment == "starting"] == before
    assert [name.lower() for name, moment in shown if moment == "ready"] == after


def test_what_a_server_and_all_processes_below_it_use_is_counted() -> None:
    below = "import time; kept = b'x' * 50_000_000; print(1, flush=True); time.sleep(100)"
    above = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {below!r}])"
    with subprocess.Popen([sys.executable, "-c", above], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            resources = Resources()
            first = resources.read({DAGSTER: process.pid, MARIMO: 2**22 + 1})
            assert first[DAGSTER]["processes"] == 2
            assert first[DAGSTER]["memory_mb"] > 50
            assert first[MARIMO] == {
                "cpu_percent": 0.0, "memory_mb": 0.0, "processes": 0, "kernels": 0
            }  # fmt: skip
            began = time.process_time()
            for _ in range(20):
                resources.read({DAGSTER: process.pid})
            assert time.process_time() - began < 20 * 0.05
        finally:
            for child in psutil.Process(process.pid).children():
                child.kill()


USE = {"cpu_percent": 3.14, "memory_mb": 512.4, "processes": 2, "kernels": 1}


def test_what_servers_use_stays_in_the_last_line_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Dagster 3 % CPU, 512 MB · marimo 3 % CPU, 512 MB, 1 kernel"
    for terminal in (True, False):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with Reporter(json=False, log_level="debug") as reporter:
            reporter.used({DAGSTER: USE, MARIMO: USE})
            reporter.event("loading", "Loading")
            reporter.event("stopping")
        shown = capsys.readouterr().err
        if terminal:
            assert shown == f"{text}\r\x1b[2KLoading\n{text}\r\x1b[2KStopping …\n"
        else:
            assert shown == f"{text}\nLoading\nStopping …\n"
    with Reporter(json=True) as reporter:
        reporter.used({DAGSTER: USE})
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"event": "resources", "servers": {DAGSTER: USE}}


def test_lines_without_a_level_go_with_the_line_before_them() -> None:
    calm = logs.Calm()
    lines = ["a - ERROR - bad", "  File x", "", "b - INFO - good", "  more"]
    assert [calm.shows(DAGSTER, line) for line in lines] == [True, True, True, False, False]
    assert calm.shows(DAGSTER, lines[0])
    assert not calm.shows(MARIMO, "  File x")


def test_a_long_start_is_reported_now_and_then_and_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("dagmar.dev.supervisor.time.monotonic", lambda: now[0])
    both = {name: Server(name, lambda port: [], 3000) for name in (DAGSTER, MARIMO)}
    with Reporter(json=False) as reporter:
        supervisor = Supervisor(load(tmp_path), DevRequest(), reporter)
        supervisor._servers = both
        for now[0] in (1.0, 19.0, 20.0, 21.0, 39.0):
            supervisor._report_late()
        both[MARIMO].ready = True
        for now[0] in (45.0, 46.0, 299.0):
            supervisor._report_late()
        now[0] = 321.0
        both[DAGSTER].ready = True
        supervisor._report_late()
        both[DAGSTER].ready = False
        with pytest.raises(TimedOut, match="Dagster did not get ready within 300 s"):
            supervisor._report_late()
    where = "the logs are in .dagmar/logs/."
    assert capsys.readouterr().err.splitlines() == [
        f"Still waiting for Dagster and marimo (20 s); {where}",
        f"Still waiting for Dagster (45 s); {where}",
        f"Still waiting for Dagster (299 s); {where}",
    ]


def test_code_locations_that_cannot_be_checked_count_as_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        own_dagster.broken_locations(f"http://127.0.0.1:{free_port()}")
    for answer in (page(500), document({"data": {"version": "1"}}), document([])):
        with serve(answer) as strange, pytest.raises(Unreachable) as refusal:
            own_dagster.broken_locations(strange.url)
        with pytest.raises(Unreachable):
            own_dagster.require_loaded(tmp_path, refusal.value)
    assert isinstance(refusal.value, UnexpectedAnswer)
    own_dagster.require_loaded(tmp_path, {})


def test_a_failure_to_cancel_the_runs_of_one_socket_does_not_affect_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def cancel(client: object, socket: str) -> int:
        asked.append(Path(socket).name)
        raise KeyError if len(asked) == 1 else TypeError if len(asked) == 2 else Unreachable("x")

    with contextlib.ExitStack() as stack:
        for name in ("a", "b", "c"):
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(tmp_path / name))
        (tmp_path / "file").touch()
        entries = [tmp_path / "0-gone", *tmp_path.iterdir()]
        monkeypatch.setattr(Path, "iterdir", lambda _: iter(entries))
        monkeypatch.setattr("dagmar.server.runs.cancel_runs_of_code_server", cancel)
        assert own_dagster.cancel_runs("http://127.0.0.1:9", tmp_path) == 0
    assert sorted(asked) == ["a", "b", "c"]


# Reports


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[ReportsServer]:
    folder = tmp_path / "exports"
    (folder / "orders/1").mkdir(parents=True)
    (folder / "orders/1/orders.html").write_text("<p>ü", "utf-8")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    server = ReportsServer(folder)
    yield server
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5  # of the ten seconds within which all has to end
    assert not taken(server.port)


def test_reports_are_pages_on_loopback_only(reports: ReportsServer) -> None:
    answer = requests.get(f"{reports.url}/orders/1/orders.html", timeout=10)
    assert (answer.status_code, answer.content.decode()) == (200, "<p>ü")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "orders/" in requests.get(reports.url, timeout=10).text
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        with contextlib.suppress(OSError):
            socket.create_connection((address, reports.port), 1).close()
            assert address.startswith("127."), f"it answers at {address}"


def test_nothing_outside_the_exports_is_served(reports: ReportsServer) -> None:
    for path in ("/../secret", "/%2e%2e/secret", "/link", "/orders/../../secret"):
        with socket.create_connection(("127.0.0.1", reports.port), 10) as connection:
            host = f"Host: 127.0.0.1:{reports.port}"
            connection.sendall(f"GET {path} HTTP/1.0\r\n{host}\r\n\r\n".encode())
            answer = connection.makefile("rb").read()
        assert b" 404 " in answer.splitlines()[0], path
        assert b"secret\n" not in answer
        assert not answer.endswith(b"secret")


def test_a_request_under_another_host_name_gets_nothing(reports: ReportsServer) -> None:
    for method in ("GET", "HEAD"):
        answer = requests.request(
            method, reports.url, headers={"Host": f"evil.example:{reports.port}"}, timeout=10
        )
        assert answer.status_code == 403
    assert requests.post(reports.url, timeout=10).status_code == 501


def test_a_second_reports_server_takes_the_next_port(
    reports: ReportsServer, tmp_path: Path
) -> None:
    other = ReportsServer(tmp_path, avoid={reports.port + 1})
    assert other.port not in (reports.port, reports.port + 1)
    other.stop()


# What is printed

PRINTS_MUCH = """
import sys, threading
from dagmar.dev.reporter import WAITING_LINES, Reporter
from dagmar.tasks.command import guarded

with guarded(), Reporter(json=False) as reporter:
    reporter.event("starting", "Starting")
    many = range(2 * WAITING_LINES)
    print_all = lambda: [reporter.line("marimo", str(i)) for i in many]
    threading.Thread(target=print_all, daemon=True).start()
    reporter.event("stopping", "Stopping")
    print("stopped", flush=True)
    raise KeyboardInterrupt
"""


def test_a_paused_terminal_does_not_delay_the_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x")
        os.set_blocking(writing, True)
        done = subprocess.run(
            [sys.executable, "-c", PRINTS_MUCH],
            stdout=subprocess.PIPE, stderr=writing, timeout=SECONDS,
        )  # fmt: skip
        os.close(writing)
    assert (done.stdout, done.returncode) == (b"stopped\n", 130)


def test_what_was_reported_is_printed_completely_and_in_order() -> None:
    code = (
        "from dagmar.dev.reporter import Reporter\n"
        "with Reporter(json=False) as reporter:\n"
        "    for i in range(3000): reporter.line('marimo', str(i))\n"
        "    reporter.warn('last')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS
    )
    expected = [*(f"marimo  | {i}" for i in range(3000)), "warning: last"]
    assert done.stderr.splitlines() == expected


# Files: dev.json, the editor's, the environment


def test_dev_json_is_private_and_read_while_its_process_runs(tmp_path: Path) -> None:
    running = devfile.Running(os.getpid(), devfile.now(), "http://127.0.0.1:3001")
    devfile.write(tmp_path, running)
    assert stat.S_IMODE((tmp_path / DEV_FILE).stat().st_mode) == 0o600
    assert json.loads((tmp_path / DEV_FILE).read_text()).keys() == {
        "pid", "started_at", "dagster_url", "marimo_url", "reports_url", "env_file",
        "dagster_home",
    }  # fmt: skip
    assert devfile.read(tmp_path) == running
    devfile.remove(tmp_path, os.getpid() + 1)
    assert devfile.read(tmp_path) == running
    devfile.remove(tmp_path, os.getpid())
    assert devfile.read(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"pid": "x"}', '{"pid": 99999999999999999999}', '{"pid": 2147483646}'),
        # To kill, these mean all processes, and those of the same group.
        *('{"pid": -1, "started_at": "2026-01-01T00:00:00+00:00"}', '{"pid": 0}'),
    ],
)
def test_a_malformed_or_dead_dev_json_is_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / DEV_FILE).parent.mkdir(parents=True)
    (tmp_path / DEV_FILE).write_text(text, "utf-8")
    assert devfile.read(tmp_path) is None
    devfile.remove(tmp_path, 1)


def test_a_later_process_with_the_same_number_is_not_ours(tmp_path: Path) -> None:
    devfile.write(tmp_path, devfile.Running(os.getpid(), "2020-01-01T00:00:00+00:00"))
    assert devfile.read(tmp_path) is None


def test_the_editors_token_is_in_private_files_only(tmp_path: Path) -> None:
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    file = notebooks / "a & b.py"
    file.touch()
    editor = Editor(notebooks, str(file), tmp_path / "scratch", tmp_path / "page.html")
    editor.write_page(2718)
    for private in (editor.token_file, editor.page):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert editor.token_file.read_text() == editor.token
    text = editor.page.read_text("utf-8")
    assert f'"http://127.0.0.1:2718/?access_token={editor.token}&file=a%20%26%20b.py"' in text
    assert editor.target == notebooks
    assert editor.without_token(f"x {editor.token} y") == "x … y"
    assert editor.token not in repr(editor)


def test_a_notebook_elsewhere_is_opened_alone(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    editor = Editor(tmp_path / "notebooks", str(tmp_path / "x.py"), tmp_path, tmp_path / "page")
    assert editor.target == tmp_path / "x.py"
    (tmp_path / "x.ipynb").touch()
    with pytest.raises(Invalid, match="is not a marimo notebook"):
        Editor(tmp_path, str(tmp_path / "x.ipynb"), tmp_path, tmp_path / "page")


def test_dotenv_wins_over_the_shell_which_wins_over_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("A=1\nB=1\nEMPTY\n", "utf-8")
    more = tmp_path / "more.env"
    more.write_text("B=2\nC=2\nD=2\n", "utf-8")
    shell = {"A": "3", "B": "3", "C": "3"}
    warnings: list[str] = []
    read = read_environ(tmp_path, str(more), shell, warnings.append)
    assert read == {"A": "1", "B": "1", "C": "3", "D": "2"}
    assert warnings == [f"B is in {more} and in .env, which wins: Dagster reads it last"]
    # What Dagster itself reads, started with the shell's variables over the file's.
    for name, value in {**read, **shell}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with get_possibly_temporary_instance_for_cli():
        assert {name: os.environ.get(name) for name in read} == read
    assert read_environ(tmp_path / "none", "", {}) == {}
    more.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_environ(tmp_path, str(more), {})


def test_a_line_that_sets_nothing_is_reported_once_by_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text("A=1\n\n# a comment\n\ns3cret is here\nB=2\n", "utf-8")
    read = read_environ(tmp_path, "", {}, console.warn)
    assert read == {"A": "1", "B": "2"}
    assert named_home(tmp_path, {}) == ""
    output = capsys.readouterr().err
    assert output == "warning: .env:5: this is not a NAME=value line, and is ignored\n"
    assert caplog.text == ""


@pytest.mark.parametrize("text", ["'KEY=x'=s3cret\n", "KEY='s3cret\0'\n", "'KEY\0'=s3cret\n"])
def test_a_variable_that_cannot_be_in_an_environment_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"\.env sets a variable .*: 'KEY…'") as refusal:
        read_environ(tmp_path, "", {})
    assert "s3cret" not in str(refusal.value)


def test_the_instance_is_the_projects_own_unless_one_is_named(tmp_path: Path) -> None:
    home = environment.dagster_home(tmp_path, {})
    assert home == tmp_path / ".dagmar/dagster_home"
    assert "enabled: false" in (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text("# mine")
    assert environment.dagster_home(tmp_path, {}) == home
    assert (home / "dagster.yaml").read_text() == "# mine"
    assert environment.dagster_home(tmp_path, {"DAGSTER_HOME": str(tmp_path)}) == tmp_path
    none = tmp_path / "nobody's home"
    for wrong in ("relative", str(none)):
        with pytest.raises(SetupError, match="DAGSTER_HOME must be") as refusal:
            environment.dagster_home(tmp_path, {"DAGSTER_HOME": wrong})
        assert "unset" not in refusal.value.command  # the shell has not set it
    subprocess.run(refusal.value.command, shell=True, check=True)
    assert environment.dagster_home(tmp_path, {"DAGSTER_HOME": str(none)}) == none


@pytest.mark.parametrize("shell", [None, "", "{}/shell"])
@pytest.mark.parametrize("dotenv", [None, "{}/dotenv"])
def test_notebooks_and_tasks_find_the_instance_that_invoke_dev_starts(
    shell: str | None, dotenv: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shell", "dotenv"):
        (tmp_path / name).mkdir()
    if shell is not None:
        monkeypatch.setenv("DAGSTER_HOME", shell.format(tmp_path))
    if dotenv is not None:
        (tmp_path / ".env").write_text(f"DAGSTER_HOME={dotenv.format(tmp_path)}\n", "utf-8")
    environ = read_environ(tmp_path, "", os.environ)
    started = environment.dagster_home(tmp_path, environ)
    assert home(tmp_path) == started


@pytest.mark.parametrize(
    ("file", "text", "is_dg"),
    [
        ("pyproject.toml", '[tool.dg]\ndirectory_type = "project"\n', True),
        ("pyproject.toml", '[tool.dg.project]\nroot_module = "x"\n', True),
        ("pyproject.toml", '[tool.dagster]\nmodule_name = "x"\n', False),
        ("dg.toml", "", True),
        ("README.md", "[tool.dg]", False),
    ],
)
def test_dg_dev_is_for_dg_projects(file: str, text: str, is_dg: bool, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text, "utf-8")
    command = environment.dagster_command(tmp_path, 3000, "warning")
    assert ("dagster_dg_cli" in " ".join(command)) is is_dg
    assert command[-2:] == ["--log-level", "warning"]


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("pyproject.toml", "[tool", "pyproject.toml is not valid TOML: "),
        ("dg.toml", "[tool", "dg.toml is not valid TOML: "),
        ("workspace.yaml", "load_from: [", "workspace.yaml is not valid YAML: "),
    ],
)
@pytest.mark.parametrize("once", [True, False])
def test_a_file_that_is_not_valid_is_told_before_anything_starts(
    once: bool, file: str, text: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).write_text(text, "utf-8")
    with pytest.raises(SetupError) as refusal:
        dev(load(tmp_path), DevRequest(marimo=False, once=once), False)
    assert says in refusal.value.message
    assert "Correct" in refusal.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variables", "terminal", "opens"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "w"}, True, True),
        ({"BROWSER": "x"}, True, True),
        ({}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "CI": "1"}, True, False),
    ],
)
def test_a_browser_opens_only_if_a_user_can_see_it(
    variables: dict[str, str], terminal: bool, opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert may_open() is opens
