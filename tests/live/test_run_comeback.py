"""`invoke run` coming back: follow, retry, cancel, timeouts, Ctrl-C, a server that goes away."""

from __future__ import annotations

import getpass
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagmar.server.client import DagsterClient
from dagmar.server.runs import read_run
from support.dagster_server import (
    QUEUED,
    DagsterServer,
    dagster_server,
    logged,
    runs_tagged,
    tags_of,
)
from support.fault_proxy import FaultProxy
from support.project import Project, make_project, run


@pytest.fixture
def slow_run(live: Project, client: DagsterClient, tag: str) -> str:
    """A run that goes on until it is cancelled."""
    status, document, talk = run(live, tag, "--asset", "slow", "--no-wait")
    assert status == 0, talk
    return str(document["runs"][0]["run_id"])


def wait_for(client: DagsterClient, run_id: str, *statuses: str) -> str:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = read_run(client, run_id).status
        if status in statuses:
            return status
        time.sleep(0.1)
    raise AssertionError(f"{run_id} is {status}, not one of {statuses}")


def test_retry_runs_what_failed_and_nothing_before_it(
    live: Project, client: DagsterClient, tag: str, dagster_home: Path
) -> None:
    fails = dagster_home / "second-fails"
    fails.touch()
    try:
        status, document, _ = run(live, tag, "--job", "counting")
    finally:
        fails.unlink()
    assert status == 4
    failed = document["runs"][0]
    assert failed["error"]["step"] == "second"
    again, document, talk = run(live, f"{tag}-again", "--retry", failed["run_id"])
    assert again == 0, talk
    retried = document["runs"][0]
    assert retried["run_id"] != failed["run_id"]
    answer = client.query("RunState", id=retried["run_id"])["runOrError"]
    assert [step["stepKey"] for step in answer["stepStats"]] == ["second"]
    assert runs_tagged(client, f"{tag}-again") == [retried["run_id"]]
    once_more, _, talk = run(live, tag, "--retry", retried["run_id"])
    assert once_more == 7
    assert "nothing to retry" in talk


def test_cancel_stops_a_run_and_refuses_one_that_has_ended(
    live: Project, client: DagsterClient, slow_run: str
) -> None:
    wait_for(client, slow_run, "STARTED")
    done = live.invoke("run", "--cancel", slow_run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CANCELED")
    again = live.invoke("run", "--cancel", slow_run)
    assert (again.returncode, again.stdout) == (7, "")
    assert "has ended" in again.stderr


def test_follow_comes_back_to_a_run_and_a_cancelled_one_is_a_failure(
    live: Project, client: DagsterClient, slow_run: str
) -> None:
    wait_for(client, slow_run, "STARTED")
    early = live.invoke("run", "--follow", slow_run, "--timeout", "1")
    assert early.returncode == 9
    assert live.invoke("run", "--cancel", slow_run).returncode == 0
    late = live.invoke("run", "--follow", slow_run)
    assert late.returncode == 4
    assert "was cancelled" in late.stderr


def test_follow_finds_the_run_of_a_launch_id(
    live: Project, client: DagsterClient, tag: str
) -> None:
    _, document, _ = run(live, tag, "--asset", "raw/orders", "--no-wait")
    run_id = document["runs"][0]["run_id"]
    launch_id = tags_of(client, run_id)["dagmar/launch-id"]
    done = live.invoke("run", "--follow", launch_id)
    assert done.returncode == 0
    assert run_id in done.stdout


def test_cancel_on_timeout_leaves_nothing_running(
    live: Project, client: DagsterClient, tag: str
) -> None:
    flags = ("--asset", "slow", "--timeout", "2", "--cancel-on-timeout")
    status, document, talk = run(live, tag, *flags)
    assert status == 9, talk
    assert [run["status"] for run in document["runs"]] == ["CANCELED"]
    (run_id,) = runs_tagged(client, tag)
    assert read_run(client, run_id).status == "CANCELED"


def test_ctrl_c_without_a_terminal_leaves_the_run_and_says_how_to_come_back(
    live: Project, client: DagsterClient, tag: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "run", "--asset", "slow", "--tag", f"test={tag}"],
        cwd=live.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    launched = process.stderr.readline()
    assert launched.startswith("Launched slow")
    (run_id,) = runs_tagged(client, tag)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=240)
    assert process.returncode == 130
    assert f"invoke run --follow {run_id}" in talk
    assert "Traceback" not in talk
    assert wait_for(client, run_id, "STARTED") == "STARTED"
    assert live.invoke("run", "--cancel", run_id).returncode == 0


@pytest.mark.parametrize(("answer", "ends"), [(b"y\n", "CANCELED"), (b"n\n", "STARTED")])
def test_ctrl_c_at_a_terminal_asks_whether_to_cancel(
    live: Project, client: DagsterClient, tag: str, answer: bytes, ends: str
) -> None:
    with Terminal(live, "run", "--asset", "slow", "--tag", f"test={tag}") as terminal:
        terminal.wait_for("Launched slow")
        (run_id,) = runs_tagged(client, tag)
        wait_for(client, run_id, "STARTED")
        terminal.type(b"\x03")
        terminal.wait_for("[y/N]")
        terminal.type(answer)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.seen
    assert wait_for(client, run_id, ends) == ends
    if ends == "STARTED":
        assert f"--follow {run_id}" in terminal.seen
        assert live.invoke("run", "--cancel", run_id).returncode == 0


def test_a_terminal_sees_the_progress_of_a_run(live: Project, tag: str) -> None:
    with Terminal(live, "run", "--asset", "raw/orders", "--tag", f"test={tag}") as terminal:
        assert terminal.end() == 0
    assert "1/1 steps" in terminal.seen
    assert "SUCCESS" in terminal.seen


def test_a_server_that_goes_away_while_following_is_waited_for(
    live: Project, client: DagsterClient, tag: str, dagster: DagsterServer, dagster_home: Path
) -> None:
    with FaultProxy(dagster.url) as proxy:
        (live.root / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{proxy.url}'}}}}")
        outcome: list[tuple[int, dict[str, object], str]] = []
        thread = threading.Thread(target=lambda: outcome.append(run(live, tag, "--asset", "slow")))
        thread.start()
        proxy.wait_for("RunState", 3)
        proxy.go_away()
        time.sleep(3)  # how long it stays away
        (dagster_home / "go-on").touch()
        proxy.come_back()
        thread.join(90)
    (dagster_home / "go-on").unlink()
    ((status, _, talk),) = outcome
    assert status == 0, talk
    assert "Still trying" in talk
    assert len(runs_tagged(client, tag)) == 1


def test_a_login_page_hides_neither_a_launch_nor_its_end(
    live: Project, client: DagsterClient, tag: str, dagster: DagsterServer, dagster_home: Path
) -> None:
    with FaultProxy(dagster.url, "after the commit, before the answer") as proxy:
        (live.root / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{proxy.url}'}}}}")
        outcome: list[tuple[int, dict[str, Any], str]] = []
        flags = ("--asset", "slow")
        thread = threading.Thread(target=lambda: outcome.append(run(live, tag, *flags)))
        thread.start()
        proxy.wait_for("LaunchRun", 1)
        proxy.page = True
        proxy.wait_for("RunsByTag", 2)
        proxy.page = False
        proxy.wait_for("RunState", 1)
        proxy.page = True
        proxy.wait_for("RunState", 4)
        (dagster_home / "go-on").touch()
        proxy.page = False
        thread.join(90)
    (dagster_home / "go-on").unlink()
    ((status, document, talk),) = outcome
    assert status == 0, talk
    assert [run["run_id"] for run in document["runs"]] == runs_tagged(client, tag)
    assert "this looks like a login page" in talk


def test_ctrl_c_during_a_launch_says_how_to_find_it(
    live: Project, client: DagsterClient, tag: str, dagster: DagsterServer
) -> None:
    with FaultProxy(dagster.url, "with the commit delayed") as proxy:
        (live.root / "dagmar.yaml").write_text(f"targets: {{local: {{url: '{proxy.url}'}}}}")
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", "run", "--asset", "orders", "--tag", f"test={tag}"],
            cwd=live.root,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        proxy.wait_for("RunsByTag", 1)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=240)
    assert process.returncode == 130
    launch_id = talk.split("invoke run --follow ")[1].split()[0]
    done = live.invoke("run", "--follow", launch_id, "--url", dagster.url)
    assert done.returncode == 0, done.stderr
    assert runs_tagged(client, tag)[0] in done.stdout


def test_a_closed_pipe_does_not_hide_a_failure(live: Project) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "run", "--asset", "failing"],
        cwd=live.root,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    assert done.returncode == 4


def test_a_retry_is_the_retrying_users_with_the_parents_config(
    live: Project, client: DagsterClient, tag: str, dagster_home: Path
) -> None:
    value = "ops.limited.config.label=retried"
    flags = ("--asset", "limited", "--set", value, "--tag", "dagster/max_runtime=600")
    fails = dagster_home / "second-fails"
    fails.touch()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOGNAME", "bob")
            _, document, _ = run(live, tag, *flags)
    finally:
        fails.unlink()
    parent = document["runs"][0]["run_id"]
    assert (document["runs"][0]["status"], tags_of(client, parent)["user"]) == ("FAILURE", "bob")
    status, document, talk = run(live, f"{tag}-again", "--retry", parent)
    assert status == 0, talk
    retried = document["runs"][0]["run_id"]
    tags = tags_of(client, retried)
    assert (tags["user"], tags["dagster/max_runtime"]) == (getpass.getuser(), "600")
    assert "label=retried" in logged(client, retried)


@pytest.fixture(scope="module")
def without_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterServer]:
    """A webserver whose runs stay in the queue."""
    home = tmp_path_factory.mktemp("queued")
    with dagster_server(home, "dagster_webserver", instance=QUEUED) as server:
        server.wait()
        yield server


@pytest.mark.nightly
@pytest.mark.xdist_group("live")
def test_a_queue_without_a_daemon_is_warned_about(
    without_daemon: DagsterServer, tmp_path: Path, tag: str
) -> None:
    project = make_project(
        tmp_path / "queued", f"targets: {{local: {{url: '{without_daemon.url}'}}}}"
    )
    status, document, talk = run(project, tag, "--asset", "orders", "--timeout", "8")
    assert status == 9
    assert document["runs"][0]["status"] == "QUEUED"
    assert "no daemon is running" in talk
    assert talk.count("no daemon is running") == 1


@pytest.mark.nightly
@pytest.mark.xdist_group("live")
def test_a_code_location_whose_process_is_gone_is_reported(
    without_daemon: DagsterServer, tmp_path: Path, tag: str
) -> None:
    settings = f"targets: {{local: {{url: '{without_daemon.url}'}}}}"
    project = make_project(tmp_path / "gone", settings)
    servers = subprocess.run(["pgrep", "-f", "api grpc.*other.py"], capture_output=True, text=True)
    ours = [pid for pid in map(int, servers.stdout.split()) if is_child(pid, without_daemon)]
    assert len(ours) == 1
    os.kill(ours[0], signal.SIGKILL)
    status, document, talk = run(project, tag, "--asset", "campaigns")
    assert (status, document) == (5, {})
    assert "the code location 'other' does not answer" in talk
    assert "Traceback" not in talk


def is_child(pid: int, server: DagsterServer) -> bool:
    """Whether a process belongs to the server's process group."""
    return os.getpgid(pid) == server.group


@pytest.mark.nightly
@pytest.mark.xdist_group("live")
def test_a_read_only_server_launches_and_cancels_nothing(
    tmp_path: Path,
    tag: str,
    dagster: DagsterServer,
    dagster_home: Path,
    client: DagsterClient,
    slow_run: str,
) -> None:
    with dagster_server(dagster_home, "dagster_webserver", "--read-only") as server:
        server.wait()
        settings = f"targets: {{local: {{url: '{server.url}'}}}}"
        project = make_project(tmp_path / "read-only", settings)
        for flags in (("--asset", "orders"), ("--job", "counting")):
            status, document, talk = run(project, tag, *flags)
            assert (status, document) == (6, {}), talk
            assert "does not allow" in talk
        done = project.invoke("run", "--cancel", slow_run, timeout=240)
        assert (done.returncode, done.stdout) == (6, ""), done.stderr
        assert "does not allow you to cancel" in done.stderr
        flags = ("--follow", slow_run, "--timeout", "0", "--cancel-on-timeout")
        done = project.invoke("run", *flags, timeout=240)
        assert done.returncode == 9
        assert "does not allow you to cancel" in done.stderr
    assert runs_tagged(client, tag) == [slow_run]
    client.mutate("CancelRun", id=slow_run)


@pytest.mark.nightly
def test_following_goes_on_when_the_webserver_is_really_restarted(
    live: Project, tmp_path: Path, slow_run: str, dagster_home: Path
) -> None:
    """The run is the daemon's and the code server's; this webserver only shows it."""
    command = [sys.executable, "-m", "dagster_webserver", "--empty-workspace", "-p", "{port}"]
    home = {"DAGSTER_HOME": str(dagster_home)}
    server = DagsterServer(command, tmp_path, tmp_path / "web.log", home)
    with server, FaultProxy(server.url) as proxy:
        server.wait()
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", "run", "--follow", slow_run, "--url", proxy.url],
            cwd=live.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        proxy.wait_for("RunState", 3)
        server.stop()
        assert "Still trying" in process.stderr.readline()
        server.start()
        server.wait()
        (dagster_home / "go-on").touch()
        try:
            printed, talk = process.communicate(timeout=240)
        finally:
            (dagster_home / "go-on").unlink()
    assert (process.returncode, talk) == (0, "")
    assert printed.startswith(f"SUCCESS  {slow_run}")


class Terminal:
    """A command on its own terminal."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.seen = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(project.root)
            os.environ["COLUMNS"] = "200"
            os.execv(sys.executable, [sys.executable, "-m", "invoke", *arguments])

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._terminal)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, keys)

    def wait_for(self, text: str) -> None:
        """Read until `text` shows up."""
        while text not in self.seen:
            if not self._read():
                raise AssertionError(f"{text!r} never showed up in:\n{self.seen}")

    def end(self) -> int:
        """Read to the end and return the exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self) -> bool:
        try:
            news = os.read(self._terminal, 4096)
        except OSError:  # the other end is closed
            return False
        self.seen += news.decode("utf-8", "replace")
        return bool(news)
