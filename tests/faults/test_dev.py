"""However `invoke dev` ends, nothing of it is left: no process, no port, no folder."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from dagmar.dev.supervisor import ORDERLY_SECONDS, SAME_SECONDS
from support.dev_process import Dev, make_dev_project, running_dev, stored_status, wait_for
from support.processes import listening

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
def look(url, before, environ, reporter, begun):
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


def end_it(dev: Dev, end: str) -> None:
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
                run_id = dev.launch_slow(url)
        elif turn == 2:  # half way: with a code server, and without a webserver
            wait_for(lambda: len(dev.processes()) >= 6, "Dagster has children", dev)
        sockets = dev.sockets()
        if moment != "starting":
            assert len(sockets) >= 3  # Dagster, marimo, reports
        assert len(dev.processes()) >= 3
        begun = time.monotonic()
        end_it(dev, end)
        wait_for(lambda: not dev.processes(), f"no process: {dev.processes()}", dev)
        took = time.monotonic() - begun
        assert took <= END_SECONDS, dev.said
        assert not sockets & listening()
        # slow-started is the test's own.
        assert [path.name for path in dev.temporary.iterdir() if path != dev.slow] == []
        assert not (root / ".dagmar/dev.json").exists()
        assert list((root / ".dagmar/tmp").iterdir()) == []
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
        (ended,) = (event for event in dev.events if event["event"] == "ended")
        assert (ended["server"], ended["status"]) == (server, -signal.SIGKILL)
    if run_id:
        assert stored_status(root, run_id) == "CANCELED"


@pytest.mark.nightly
def test_a_webserver_that_is_gone_is_noticed(tmp_path: Path) -> None:
    root = make_dev_project(tmp_path / "shop")
    with running_dev(root, "--no-marimo") as dev:
        dev.until("ready")
        (webserver,) = (line for line in dev.processes() if "-m dagster_webserver" in line)
        os.kill(int(webserver.split()[0]), signal.SIGKILL)
        assert dev.finished() == 5
        assert dev.processes() == []
    assert dev.events[-1]["message"].startswith("Dagster ")


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


def _own_output(dev: Dev) -> str:
    servers = ("dagster |", "marimo  |")
    return "".join(line for line in dev.talk if not line.startswith(servers))
