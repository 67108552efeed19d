"""However `invoke dev` ends, nothing of it is left: no process, no port, no folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from dagmar.dev.supervisor import ORDERLY_SECONDS, RESTARTS, SAME_SECONDS
from support.dev_process import (
    DEFINITIONS,
    Dev,
    make_dev_project,
    run_status,
    running_dev,
    stored_status,
    wait_for,
)
from support.processes import listening, open_files

END_SECONDS = 10.0
SIGNALS = {
    "ctrl-c": signal.SIGINT,
    "sigterm": signal.SIGTERM,
    "sighup": signal.SIGHUP,
    "sigkill": signal.SIGKILL,
}
ENDS = (*SIGNALS, "dagster-crash", "marimo-crash")
MOMENTS = ("starting", "ready", "run", "sigint-ignored")
# A server that hears neither SIGINT nor SIGTERM, and a supervisor with much patience.
STUBBORN = """
import sys
import dagmar.dev.environment as environment, dagmar.dev.supervisor as supervisor
from invoke.main import program
supervisor.ORDERLY_SECONDS = 3600
code = '''
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(3600)
'''
environment.dagster_command = lambda *_: [sys.executable, "-c", code]
program.run()
"""
# A server in Dagster's place that answers, but not the request to cancel its runs.
IN_ITS_PLACE = """
import subprocess, sys
import dagmar.dev.own_dagster as dagster, dagmar.dev.environment as environment
from invoke.main import program
code = '''
import http.server, os, signal, socket, sys, time
{before}
socket.socket(socket.AF_UNIX).bind(os.environ["TMPDIR"] + "/code-server")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"dagster_version": "1.13.0"}}')
    def do_POST(self):
        time.sleep({hangs})
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''
environment.dagster_command = lambda root, port, level: [sys.executable, "-c", code, str(port)]
def look(root, url, before, environ, reporter, begun):
    begun(subprocess.Popen(["sleep", "3600"], env=environ, start_new_session=True, text=True))
    reporter.event("looking")
dagster.look = look
program.run()
"""
IGNORES_SIGNALS = (
    "[signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)]"
)
IN_CI = {
    ("sigkill", "starting", 2),
    ("marimo-crash", "starting", 1),
    ("sigterm", "run", 1),
}
CELLS = [
    pytest.param(
        end, moment, turn, marks=[] if (end, moment, turn) in IN_CI else pytest.mark.nightly
    )
    for end in ENDS
    for moment in MOMENTS
    for turn in (1, 2)
]


def end_it(dev: Dev, end: str, moment: str) -> None:
    """End it; a Dagster that was ready starts again until it has died too often."""
    if end == "dagster-crash" and moment != "starting":
        for _ in range(RESTARTS):
            os.kill(dev.pid_of("dagster"), signal.SIGKILL)
            dev.until("restarting")
            dev.until("starting", server="dagster")
    if end in SIGNALS:
        os.kill(dev.process.pid, SIGNALS[end])
    else:
        os.kill(dev.pid_of(end.removesuffix("-crash")), signal.SIGKILL)


@pytest.mark.parametrize(("end", "moment", "turn"), CELLS)
def test_nothing_is_left(end: str, moment: str, turn: int, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, ignore_interrupt=moment == "sigint-ignored") as dev:
        dev.until("starting", server="marimo")
        run_id = ""
        if moment != "starting":
            url = dev.until("ready")["dagster_url"]
            if moment == "run":
                if turn == 1:
                    reload_on_save(dev)
                run_id = dev.launch_slow(url)
                if turn == 2:  # a run in progress goes on
                    reload_on_save(dev)
                    assert run_status(url, run_id) == "STARTED"
        elif turn == 2:  # half way: with a code server, and without a webserver
            wait_for(lambda: len(dev.processes()) >= 6, "Dagster has children", dev)
        sockets = dev.sockets()
        if moment != "starting":
            assert len(sockets) >= 3  # Dagster, marimo, reports
        assert len(dev.processes()) >= 3
        if end == "dagster-crash":
            end_it(dev, end, moment)
        begun = time.monotonic()
        if end != "dagster-crash":
            end_it(dev, end, moment)
        wait_for(lambda: not dev.processes(), f"no process: {dev.processes()}", dev)
        took = time.monotonic() - begun
        assert took <= END_SECONDS, dev.said
        assert not sockets & listening()
        # slow-started is the test's own.
        assert [path.name for path in dev.temporary.iterdir() if path != dev.slow] == []
        assert not (root / ".dagmar/tmp/dev.json").exists()
        assert [file.name for file in (root / ".dagmar/tmp").iterdir()] == [".gitignore"]
        status = dev.finished()
    if end == "sigkill":
        assert status == -signal.SIGKILL
        return
    assert "Traceback (most recent call last)" not in _own_output(dev)
    assert dev.events[-1]["event"] in ("stopped", "failed")
    if end in SIGNALS:
        assert status == 130
        assert dev.events[-2] == {"event": "stopping", "signal": SIGNALS[end].name} or run_id
    else:
        server = end.removesuffix("-crash")
        # It may have become ready just before.
        was_ready = any(
            event["event"] == "server_ready" and event["server"] == server for event in dev.events
        )
        assert was_ready or moment == "starting"
        assert status == (5 if was_ready else 3)
        ends = [event for event in dev.events if event["event"] == "ended"]
        assert len(ends) == (RESTARTS + 1 if server == "dagster" and moment != "starting" else 1)
        assert {(event["server"], event["status"]) for event in ends} == {(server, -signal.SIGKILL)}
    if run_id:
        # A run that died with its Dagster is marked at the next start.
        expected = "STARTED" if end == "dagster-crash" else "CANCELED"
        assert stored_status(root, run_id) == expected


def reload_on_save(dev: Dev) -> None:
    """Add an asset: its code location is reloaded, and the asset is reported."""
    code = DEFINITIONS.replace("defs = ", "@dg.asset\ndef more(): ...\n\n\ndefs = ")
    file = dev.root / "src/shop/definitions.py"
    file.write_text(code.replace("[orders, slow]", "[orders, slow, more]"), "utf-8")
    assert watches_files(dev)
    reloaded = dev.until("reloaded")
    assert reloaded["files"] == ["src/shop/definitions.py"]
    added = {"added": ["more"], "removed": [], "changed": []}
    assert reloaded["changes"] == {"assets": added}


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["-m dagster_webserver", "-m dagster._daemon"])
def test_a_dagster_that_loses_a_part_is_started_again(part: str, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root) as dev:
        ready = dev.until("ready")
        marimo = dev.pid_of("marimo")
        run_id = dev.launch_slow(ready["dagster_url"])
        (process,) = (line for line in dev.processes() if part in line)
        os.kill(int(process.split()[0]), signal.SIGKILL)
        dev.until("restarting")
        assert dev.until("server_ready")["url"] == ready["dagster_url"]
        assert dev.until("runs_failed")["run_ids"] == [run_id]
        assert run_status(ready["dagster_url"], run_id) == "FAILURE"
        assert dev.pid_of("marimo") == marimo
        assert any(line.startswith(f"{marimo} ") for line in dev.processes())
        # Ctrl-C during a restart.
        os.kill(dev.pid_of("dagster"), signal.SIGKILL)
        dev.until("starting", server="dagster")
        begun = time.monotonic()
        os.kill(dev.process.pid, signal.SIGINT)
        wait_for(lambda: not dev.processes(), "no process", dev)
        assert time.monotonic() - begun <= END_SECONDS
        assert dev.finished() == 130
    assert dev.events[-1]["event"] == "stopped"
    assert sum(event["event"] == "ready" for event in dev.events) == 1


def test_a_dagster_that_keeps_ending_is_started_three_times_on_its_port(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    before = "print('its last line', flush=True); os.environ['TMPDIR'] += f'/{os.getpid()}'; "
    before += "os.mkdir(os.environ['TMPDIR'])"
    code = IN_ITS_PLACE.format(before=before, hangs=0)
    flags = ("--no-marimo", "--no-reload")
    with running_dev(root, *flags, program=(sys.executable, "-c", code)) as dev:
        url = dev.until("ready")["dagster_url"]
        assert not watches_files(dev)
        for attempt in range(1, RESTARTS + 1):
            os.kill(dev.pid_of("dagster"), signal.SIGKILL)
            assert dev.until("ended")["last_lines"][0] == "its last line"
            assert dev.until("restarting")["attempt"] == attempt
            assert dev.until("server_ready")["url"] == url
        os.kill(dev.pid_of("dagster"), signal.SIGKILL)
        assert dev.finished() == 5
        assert dev.processes() == []
    message = dev.events[-1]["message"]
    assert message.startswith(
        "Dagster was started 3 times again, and ended. Dagster ended (signal 9)"
    )
    assert "The last lines it printed:\n  its last line" in message


def test_a_second_ctrl_c_kills_what_ignores_the_first(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo", program=(sys.executable, "-c", STUBBORN)) as dev:
        wait_for(lambda: "dagster | up\n" in dev.talk, "it runs", dev)
        os.kill(dev.process.pid, signal.SIGINT)
        dev.until("stopping")
        # Two at once count as one: `uv run` passes on what the terminal has sent already.
        time.sleep(2 * SAME_SECONDS)
        os.kill(dev.process.pid, signal.SIGINT)
        assert dev.finished() == 130
        assert dev.processes() == []


@pytest.mark.parametrize(
    ("before", "hangs", "seconds"),
    [
        pytest.param(IGNORES_SIGNALS, 3600, END_SECONDS, id="a server that ignores signals"),
        # While earlier runs are being checked, which is not needed any more.
        pytest.param("", 0, ORDERLY_SECONDS, id="a server that ends at once"),
    ],
)
def test_one_ctrl_c_is_enough(before: str, hangs: int, seconds: float, tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    code = IN_ITS_PLACE.format(before=before, hangs=hangs)
    with running_dev(root, "--no-marimo", program=(sys.executable, "-c", code)) as dev:
        dev.until("looking")
        begun = time.monotonic()
        os.kill(dev.process.pid, signal.SIGINT)
        wait_for(lambda: not dev.processes(), "no process", dev)
        took = time.monotonic() - begun
        assert dev.finished() == 130
    assert took <= seconds, dev.said


def watches_files(dev: Dev) -> bool:
    """Whether the supervisor waits for reports of changed files."""
    return any("inotify" in file for file in open_files(dev.process.pid))


def _own_output(dev: Dev) -> str:
    servers = ("dagster |", "marimo  |")
    return "".join(line for line in dev.talk if not line.startswith(servers))
