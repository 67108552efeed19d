"""`invoke dev` starts despite whatever is in its way, and says in one line what it cannot fix."""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dagmar.project.settings import Target
from dagmar.server.catalog import read_catalog
from dagmar.server.client import DagsterClient
from support.dagster_server import dagster_server
from support.dev_process import (
    DEFINITIONS,
    make_dev_project,
    run_status,
    running_dev,
    stored_status,
    wait_for,
)
from support.export_project import export, paired, write
from support.http_server import document, serve
from support.project import Project

# What `invoke` does, in a Python where a package cannot be found.
WITHOUT = """
import sys
sys.modules[{package!r}] = None
sys.argv[0] = "invoke"
from invoke.main import program
program.run()
"""
# A server in Dagster's place: it does what a test says, then answers as one, `{answer}` to queries.
IN_ITS_PLACE = """
import sys
import dagmar.dev.environment as environment
from invoke.main import program
code = '''
import http.server, sys
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b'{{"dagster_version": "1.13.0"}}')
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({status}, {answer!r})
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''
environment.dagster_command = lambda root, port, level: [sys.executable, "-c", code, str(port)]
program.run()
"""
OWN_LINE = "worker: Address already in use"
ERROR = {"className": "ValueError", "message": "ValueError: there is no\nsuch table\n", "stack": []}
LOCATION = {
    "name": "shop",
    "loadStatus": "LOADED",
    "updatedTimestamp": 0.0,
    "locationOrLoadError": {"__typename": "PythonError", **ERROR, "errorChain": []},
}
WORKSPACE = {"__typename": "Workspace", "locationEntries": [LOCATION]}
BROKEN = {"data": {"version": "1.13.0", "workspaceOrError": WORKSPACE}}
PRINT_IT = f'print("{OWN_LINE}", flush=True)'


def in_its_place(before: str = "", status: int = 200, answer: bytes = b"{}") -> tuple[str, ...]:
    answer = answer.replace(b"\\", b"\\\\")  # a string within a string
    code = IN_ITS_PLACE.format(before=before, status=status, answer=answer)
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(
    ("status", "answer"), [(500, b"<p>sorry"), (200, b'{"data": {"version": "1"}}')]
)
def test_once_fails_if_code_locations_cannot_be_read(
    status: int, answer: bytes, tmp_path: Path
) -> None:
    root = make_dev_project(tmp_path / "shop")
    program = in_its_place(status=status, answer=answer)
    with running_dev(root, "--no-marimo", "--once", program=program) as dev:
        dev.until("ready")
        assert dev.finished() == 5, dev.said
    assert "answer" in dev.talk[-2]
    assert (dev.events[-1]["event"], dev.events[-1]["status"]) == ("failed", 5)


def test_code_locations_that_cannot_be_read_stop_nothing(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo", program=in_its_place(status=500)) as dev:
        dev.until("ready")
        dev.until("warning")
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.finished() == 130


def test_a_projects_own_line_about_a_busy_address_moves_nothing(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo", program=in_its_place(PRINT_IT)) as dev:
        dev.until("ready")
        assert f"dagster | {OWN_LINE}\n" in dev.talk
    assert [event["event"] for event in dev.events if event["event"] == "port_taken"] == []

    with running_dev(root, "--no-marimo", program=in_its_place(f"{PRINT_IT}; sys.exit(7)")) as dev:
        assert dev.finished() == 3
    assert sum(event["event"] == "starting" for event in dev.events) == 1
    (ended,) = (event for event in dev.events if event["event"] == "ended")
    assert (ended["status"], ended["last_lines"]) == (7, [OWN_LINE])


@pytest.mark.nightly
@pytest.mark.parametrize("seen", [True, False])
def test_a_port_that_another_projects_dagster_has_stays_its_own(seen: bool, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with dagster_server(tmp_path / "home", "dagster", "dev") as other:
        other.wait()
        # Where it is not seen, it has taken the port a moment after we looked.
        blind = (
            "import dagmar.dev.supervisor as s, invoke.main as m\n"
            f"ports, free = [{other.port}], s.free_port\n"
            "s.free_port = lambda *given: ports.pop() if ports else free(*given)\n"
            "m.program.run()\n"
        )
        options = {} if seen else {"program": (sys.executable, "-c", blind)}
        with running_dev(root, "--no-marimo", "--dagster-port", str(other.port), **options) as dev:
            url = dev.until("ready")["dagster_url"]
            assert url != other.url
            starts = [event["port"] for event in dev.events if event["event"] == "starting"]
            assert (starts[0] == other.port) is not seen
            assert url.endswith(f":{starts[-1]}")
            mine, theirs = locations(url), locations(other.url)
            assert mine == ["shop"]
            assert theirs
            assert "shop" not in theirs
            found = json.loads(Project(root).invoke("discover", "--json").stdout)
            assert [asset["key"] for asset in found["assets"]] == ["orders", "slow"]
            os.kill(dev.process.pid, signal.SIGINT)
            assert dev.finished() == 130
        assert locations(other.url) == theirs


def locations(url: str) -> list[str]:
    with DagsterClient(Target("local", url)) as client:
        return [location["name"] for location in read_catalog(client, (), None).locations]


@pytest.mark.nightly
def test_a_project_that_dg_does_not_know_gets_dagster_dev(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    (root / "src/shop").rename(root / "shop")
    (root / "pyproject.toml").write_text(
        '[tool.dagster]\nmodule_name = "shop.definitions"\n', "utf-8"
    )
    with running_dev(root) as dev:
        url = dev.until("ready")["dagster_url"]
        (command,) = (
            line for line in dev.processes() if line.startswith(f"{dev.pid_of('dagster')} ")
        )
        assert "-m dagster dev" in command
        assert locations(url) == ["shop.definitions"]
        ran = Project(root).invoke("run", "--asset", "orders")
        assert ran.returncode == 0, ran.stderr
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.finished() == 130
        assert dev.processes() == []
    assert dev.events[-1]["event"] == "stopped"


@pytest.mark.nightly
def test_after_a_sigkill_it_starts_on_other_ports_and_marks_the_run_as_failed(
    tmp_path: Path,
) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo") as dev:
        run_id = dev.launch_slow(dev.until("ready")["dagster_url"])
        os.kill(dev.process.pid, signal.SIGKILL)
        wait_for(lambda: not dev.processes(), "no process", dev)
    assert stored_status(root, run_id) == "STARTED"

    another_dagster = document({"dagster_version": "1.13.27", "status": "healthy"})
    with serve(another_dagster) as other, socket.create_server(("127.0.0.1", 0)) as silent:
        taken = {"dagster": other.port, "marimo": silent.getsockname()[1]}
        ports = [("--dagster-port", str(taken["dagster"])), ("--marimo-port", str(taken["marimo"]))]
        with running_dev(root, *ports[0], *ports[1], "--once") as dev:
            ready = dev.until("ready")
            assert dev.finished() == 0
            assert dev.processes() == []
    (failed,) = (event for event in dev.events if event["event"] == "runs_failed")
    assert failed["run_ids"] == [run_id]
    assert stored_status(root, run_id) == "FAILURE"
    moved = [event for event in dev.events if event["event"] == "port_taken"]
    for name, port in taken.items():
        # More than one move if another program takes the next port between check and start.
        moves = [event for event in moved if event["server"] == name]
        assert moves[0]["wanted"] == port
        assert ready[f"{name}_url"] == f"http://127.0.0.1:{moves[-1]['port']}"
        assert moves[-1]["port"] not in taken.values()


@pytest.mark.nightly
def test_a_run_that_is_alive_is_not_marked(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo") as first:
        url = first.until("ready")["dagster_url"]
        run_id = first.launch_slow(url)
        # Another `invoke dev` on the same instance, from another project.
        other = make_dev_project(tmp_path / "other")
        home = {"DAGSTER_HOME": str(root / ".dagmar/dagster_home")}
        with running_dev(other, "--no-marimo", "--once", environ=home) as second:
            assert second.finished() == 0
        assert run_status(url, run_id) == "STARTED"


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_a_broken_code_location_is_one_line_and_once_fails(real: bool, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    broken = "raise ValueError('there is no\\nsuch table')\n" + DEFINITIONS
    (root / "src/shop/definitions.py").write_text(broken, "utf-8")
    options = {} if real else {"program": in_its_place(answer=json.dumps(BROKEN).encode())}
    with running_dev(root, "--no-marimo", "--once", "--log-level", "critical", **options) as dev:
        assert dev.finished() == 3
    assert "marimo_url" not in next(e for e in dev.events if e["event"] == "ready")
    (warning,) = (event["message"] for event in dev.events if event["event"] == "warning")
    assert warning.startswith("the code location 'shop' does not load: ")
    assert "there is no" in warning
    assert "\n" not in warning
    assert "1 code location does not load" in dev.events[-1]["message"]
    # --log-level critical: Dagster itself says nothing of its start.
    assert not any("Launching Dagster services" in line for line in dev.talk)


@pytest.mark.parametrize(
    ("package", "flag"),
    [("marimo", "marimo"), ("dagster_dg_cli", "dagster"), ("dagster_webserver", "dagster")],
)
def test_a_missing_package_is_one_line(package: str, flag: str, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    program = (sys.executable, "-c", WITHOUT.format(package=package))
    with running_dev(root, program=program) as dev:
        assert dev.finished() == 3
        assert list(dev.temporary.iterdir()) == []
    error, hint = dev.talk
    assert error == f"error: {package.replace('_', '-')} is not installed\n"
    assert f"--no-{flag}" in hint
    assert [event["event"] for event in dev.events] == ["failed"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    # Nobody, not even root, makes files there.
    (root / ".dagmar").symlink_to("/sys/kernel")
    with running_dev(root) as dev:
        assert dev.finished() == 3
    error, hint = dev.talk
    assert "/.dagmar/tmp cannot be written: " in error
    assert ".dagmar/ of the project" in hint


def test_a_full_disk_for_logs_is_one_line_and_stops_nothing(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    (root / ".dagmar/logs").mkdir(parents=True)
    (root / ".dagmar/logs/marimo.log").symlink_to("/dev/full")
    with running_dev(root, "--no-dagster", "--once") as dev:
        assert dev.finished() == 0
    warnings = [event["message"] for event in dev.events if event["event"] == "warning"]
    assert warnings == [
        f"{root}/.dagmar/logs/marimo.log is not written any more: No space left on device"
    ]


def test_the_editor_is_private_and_found_through_dev_json(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    (root / ".env").write_text("FROM_DOTENV=1\nFROM_BOTH=dotenv\nFROM_OUTSIDE=dotenv\n", "utf-8")
    (tmp_path / "more.env").write_text("FROM_BOTH=more\nFROM_MORE=secret\n", "utf-8")
    with running_dev(
        root,
        *("--no-dagster", "--notebook", "notebooks/orders.py"),
        *("--env-file", str(tmp_path / "more.env"), "--log-level", "warning", "--watch"),
        environ={"FROM_OUTSIDE": "outside"},
    ) as dev:
        ready = dev.until("ready")
        assert "dagster_url" not in ready
        pid = dev.pid_of("marimo")
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        # As for Dagster, .env comes last.
        assert {b"FROM_DOTENV=1", b"FROM_BOTH=dotenv", b"FROM_OUTSIDE=dotenv"} <= set(variables)
        assert b"FROM_MORE=secret" in variables
        known = (root / ".dagmar/tmp/dev.json").read_text("utf-8")
        assert str(tmp_path / "more.env") in known
        assert "secret" not in known
        assert f"DAGSTER_HOME={root}/.dagmar/dagster_home".encode() in variables
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        assert command[command.index("--log-level") + 1] == "warn"

        page = Path(ready["marimo_page"].removeprefix("file://"))
        text = page.read_text("utf-8")
        token = text.partition("access_token=")[2].partition("&")[0]
        assert len(token) > 40
        assert "file=orders.py" in text
        for private in (page, root / ".dagmar/tmp/dev.json", *dev.temporary.glob("dagmar-*/token")):
            assert stat.S_IMODE(private.stat().st_mode) == 0o600, private
        assert token.encode() not in b"\0".join([*variables, *(part.encode() for part in command)])

        typed = shlex.split(ready["marimo_pair"])
        pair = typed[typed.index("marimo") :]  # after `uv run`, where uv manages the project
        assert pair[-1] in {str(file) for file in dev.temporary.glob("dagmar-*/token")}
        assert token not in ready["marimo_pair"]
        assert (*pair[:4],) == ("marimo", "pair", "notebook", "list")
        program = [sys.executable, "-m", *pair]
        listed = subprocess.run(program, cwd=root, capture_output=True, text=True)
        assert listed.returncode == 0, listed.stderr
        assert json.loads(listed.stdout)["warnings"] == []
        refused = subprocess.run(program[:-2], cwd=root, capture_output=True, text=True)
        assert "Authentication failed" in refused.stdout + refused.stderr
        assert "--token-file" in refused.stdout + refused.stderr

        used = dev.until("resources")["servers"]
        assert set(used) == {"marimo"}
        assert used["marimo"]["memory_mb"] > 20
        running = Project(root).invoke("dev", "--no-open")
        assert running.returncode == 8
        assert f"(process {dev.process.pid}): marimo at {ready['marimo_url']}" in running.stderr
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.finished() == 130
    log = (root / ".dagmar/logs/marimo.log").read_text("utf-8")
    assert "access_token=…" in log
    assert token not in log
    assert token not in dev.said


@pytest.mark.nightly
def test_runs_and_exports_use_the_instance_that_env_file_names(tmp_path: Path) -> None:
    root, home = make_dev_project(tmp_path / "shop"), tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", "utf-8")
    (tmp_path / "more.env").write_text(f"DAGSTER_HOME={home}\n", "utf-8")
    cell = "value():\nprint('it is', pair.load('orders'))"
    write(root / "notebooks", cell, name="paired", head=paired("orders"))
    flags = ("--no-marimo", "--env-file", str(tmp_path / "more.env"))
    with running_dev(root, *flags) as dev:
        dev.until("ready")
        ran = Project(root).invoke("run", "--asset", "orders", "--json")
        assert ran.returncode == 0, ran.stderr
        (run,) = json.loads(ran.stdout)["runs"]
        assert run["status"] == "SUCCESS"
        status, exports, talk = export(
            Project(root), "--notebook", "notebooks/paired.py", "--format", "md"
        )
        assert status == 0, (exports, talk)
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.finished() == 130
    (page,) = (root / ".dagmar/exports").rglob("*.md")
    assert "it is 1" in page.read_text("utf-8")
    assert (home / "storage/orders").is_file()
    assert not (root / ".dagmar/dagster_home/history").exists()


def test_a_program_that_takes_the_port_at_the_last_moment_keeps_it(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken = silent.getsockname()[1]
        # The first look finds the port free, as it was a moment before.
        blind = (
            "import dagmar.dev.supervisor as s, invoke.main as m\n"
            f"ports, free = [{taken}], s.free_port\n"
            "s.free_port = lambda *given: ports.pop() if ports else free(*given)\n"
            "m.program.run()\n"
        )
        program = (sys.executable, "-c", blind)
        flags = ("--no-dagster", "--once", "--marimo-port", str(taken))
        with running_dev(root, *flags, program=program) as dev:
            assert dev.finished() == 0
    moves = [event for event in dev.events if event["event"] == "port_taken"]
    assert moves[0]["wanted"] == taken
    starts = [event["port"] for event in dev.events if event["event"] == "starting"]
    assert starts == [taken, *(move["port"] for move in moves)]


def test_the_browser_is_opened_on_a_terminal_unless_a_flag_forbids_it(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n', "utf-8")
    browser.chmod(0o755)
    for flags in ([], ["--no-open", "--log-level", "info"]):
        talk = on_terminal(root, flags, {"BROWSER": f"{browser} %s"}, opened.exists)
        before, _, after = talk.partition("Ready after ")
        assert "Ctrl-C stops everything." in after
        # Servers' chatter before that is in the log only, unless it was asked for.
        assert re.search(r"^marimo is ready \(\d+ s\)\r$", before, re.MULTILINE)
        assert ("edit notebooks in your browser" in before) is bool(flags)
        assert "edit notebooks in your browser" in (root / ".dagmar/logs/marimo.log").read_text()
        assert "Stopped; no process is left." in talk
        assert "\x1b[32mmarimo" in talk
    assert opened.read_text("utf-8").split() == [(root / ".dagmar/tmp/marimo.html").as_uri()]


def on_terminal(
    root: Path, flags: list[str], environ: dict[str, str], enough: Callable[[], bool]
) -> str:
    """Call `invoke dev --no-dagster` on a terminal, press Ctrl-C when it is ready and `enough`."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(root)
        outside = {key: value for key, value in os.environ.items() if key != "CI"}
        arguments = [sys.executable, "-m", "invoke", "dev", "--no-dagster", *flags]
        os.execve(sys.executable, arguments, {**outside, **environ})
    talk = b""
    pressed = False
    while True:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            if not part:
                break
            talk += part
        if b"Ctrl-C stops everything." in talk and enough() and not pressed:
            pressed = True
            os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    return talk.decode()


def test_a_stale_file_of_a_dead_process_does_no_harm(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    (root / ".dagmar/tmp").mkdir(parents=True)
    # A process that runs, and is younger than the file says.
    (root / ".dagmar/tmp/dev.json").write_text(
        f'{{"pid": {os.getpid()}, "started_at": "2020-01-01T00:00:00+00:00"}}', "utf-8"
    )
    with running_dev(root, "--no-dagster", "--once") as dev:
        assert dev.finished() == 0
    assert not (root / ".dagmar/tmp/dev.json").exists()


def test_flags_that_leave_nothing_or_contradict_are_refused(tmp_path: Path) -> None:
    project = Project(make_dev_project(tmp_path / "shop"))
    for flags in (
        ["--no-dagster", "--no-marimo"],
        ["--no-marimo", "--notebook", "notebooks/orders.py"],
        ["--notebook", "notebooks/none.py"],
        ["--dagster-port", "abc"],
        ["--marimo-port", "65536"],
        ["--dagster-port", "3100", "--marimo-port", "3100"],
        ["--env-file", "none.env"],
        ["--log-level", "loud"],
    ):
        done = project.invoke("dev", "--no-open", *flags)
        assert done.returncode == 2, (flags, done.stderr)
        assert len(done.stderr.splitlines()) <= 2
    assert not (project.root / ".dagmar/tmp/dev.json").exists()
