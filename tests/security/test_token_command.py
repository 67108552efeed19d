"""A token that a command prints: when it runs, what is sent, and what is never shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from dagmar.errors import DagmarError, NotAllowed, SettingsError, SetupError
from dagmar.project import tokens
from dagmar.project.layout import find_root
from dagmar.project.settings import Target, load
from dagmar.server.client import DagsterClient
from support.http_server import Answer, Handler, Server, data, document, page, serve
from support.processes import die_with_tests

PRINTER = """\
import pathlib, sys
calls = pathlib.Path("calls")
number = len(calls.read_text().splitlines()) + 1 if calls.exists() else 1
calls.open("a").write(f"{sys.argv[1:]}\\n")
print(f"  t0ken-{number}  ")
"""
"""Prints another token at each call, with blanks that are not part of it, and notes the call."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "printer.py").write_text(PRINTER)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_token_of_another_test() -> Iterator[None]:
    tokens.token_command.cache_clear()
    yield
    tokens.token_command.cache_clear()


def target(
    root: Path,
    server: Server | str,
    *command: str,
    kind: str = "bearer",
    environ: dict[str, str] | None = None,
    **auth: str,
) -> Target:
    """Return the target of settings with this command; the printer by default."""
    words = list(command or (sys.executable, "printer.py", "$HOME", "a b"))
    url = server if isinstance(server, str) else server.url
    login = {"type": kind, "token_command": words, **auth}
    (root / "dagmar.yaml").write_text(
        yaml.safe_dump({"targets": {"p": {"url": url, "auth": login}}})
    )
    return load(root, environ or {}, root).target("p")


def calls(root: Path) -> list[str]:
    file = root / "calls"
    return file.read_text().splitlines() if file.exists() else []


def send(where: Target, how: str = "query") -> None:
    """Send a query, a mutation or a report in a separate session."""
    with DagsterClient(where) as client:
        if how == "report":
            client.report("report_asset_observation/a", {"metadata": {}})
        elif how == "mutate":
            client.mutate("LaunchRun", params={"tag": "only"})
        else:
            client.query("Workspace")


def accepting(*accepted: str) -> Answer:
    """Answer 401 to every request that does not have one of these values of Authorization."""

    def answer(handler: Handler) -> None:
        good = handler.headers.get("Authorization") in accepted
        (data(version="1") if good else page(401))(handler)

    return answer


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("bearer", "Authorization", "Bearer t0ken-1"),
        ("dagster-plus", "Dagster-Cloud-Api-Token", "t0ken-1"),
    ],
)
def test_the_command_runs_once_without_a_shell_and_its_token_serves_every_client(
    kind: str, header: str, value: str, root: Path
) -> None:
    with serve(data(version="1")) as server:
        first = target(root, server, kind=kind)
        assert calls(root) == [], "nothing runs before something is sent"
        for where in (first, load(root, {}, root).target("p")):
            with DagsterClient(where) as client:
                client.query("Workspace")
                client.mutate("LaunchRun", params={})
    assert [seen.headers[header] for seen in server.seen] == [value] * 4
    assert calls(root) == ["['$HOME', 'a b']"]


def test_a_query_that_is_refused_is_sent_again_with_a_new_token(root: Path) -> None:
    with (
        serve(accepting("Bearer t0ken-2")) as server,
        DagsterClient(target(root, server)) as client,
    ):
        assert client.query("RunState", id="r1") == {"version": "1"}
        assert client.query("RunState", id="r1") == {"version": "1"}
    sent = [seen.headers["Authorization"] for seen in server.seen]
    assert sent == ["Bearer t0ken-1", "Bearer t0ken-2", "Bearer t0ken-2"]


@pytest.mark.parametrize("how", ["mutate", "report"])
def test_a_change_that_is_refused_is_executed_once_with_a_new_token(how: str, root: Path) -> None:
    with serve(accepting("Bearer t0ken-2")) as server:
        send(target(root, server), how)
    bodies = {seen.body for seen in server.seen}
    executed = [seen for seen in server.seen if seen.headers["Authorization"] == "Bearer t0ken-2"]
    assert (len(server.seen), len(executed), len(bodies)) == (2, 1, 1)


@pytest.mark.parametrize("how", ["query", "mutate"])
def test_a_server_that_refuses_the_new_token_too_is_reported(how: str, root: Path) -> None:
    with serve(page(401)) as server, pytest.raises(NotAllowed) as caught:
        send(target(root, server), how)
    assert (len(server.seen), len(calls(root))) == (2, 2)
    assert "(401)" in caught.value.message
    assert "targets.p.auth" in caught.value.hint
    assert "t0ken" not in "".join(traceback.format_exception(caught.value))


def test_a_command_that_prints_the_refused_token_again_repeats_nothing(root: Path) -> None:
    with serve(page(401)) as server, pytest.raises(NotAllowed, match="401"):
        send(target(root, server, sys.executable, "-c", "print('t0ken')"), "mutate")
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502])
def test_only_401_asks_for_a_new_token(status: int, root: Path) -> None:
    with serve(document({"no": "data"}, status)) as server, pytest.raises(DagmarError):
        send(target(root, server), "mutate")
    assert (len(server.seen), len(calls(root))) == (1, 1)


def test_a_new_token_does_not_make_a_lost_answer_a_second_launch(root: Path) -> None:
    def hang_up(handler: Handler) -> None:
        handler.close_connection = True

    with serve(page(401), hang_up) as server, pytest.raises(DagmarError, match="broke"):
        send(target(root, server), "mutate")
    assert len(server.seen) == 2, "the one that was refused, and the one whose answer is lost"


def test_threads_whose_token_is_refused_run_the_command_once(root: Path) -> None:
    with serve(accepting("Bearer t0ken-2")) as server:
        where = target(root, server)
        assert where.login
        where.login.header()
        together = threading.Barrier(8)

        def ask() -> None:
            with DagsterClient(where) as client:
                together.wait()
                client.query("RunState", id="r1")

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(calls(root)) == 2


def test_the_variable_is_used_instead_if_it_is_set(root: Path) -> None:
    with serve(page(401)) as server:
        where = target(root, server, environ={"CI_TOKEN": "from-ci"}, token_env="CI_TOKEN")
        with pytest.raises(NotAllowed, match="401"):
            send(where)
        with pytest.raises(NotAllowed, match="401"):
            send(target(root, server, token_env="CI_TOKEN"))
    sent = [seen.headers["Authorization"] for seen in server.seen]
    assert sent == ["Bearer from-ci", "Bearer t0ken-1", "Bearer t0ken-2"]


def test_another_origin_and_plain_http_get_no_token(root: Path) -> None:
    target(root, "https://dagster.example")
    assert load(root, {}, root).target("p", "https://other.example").login is None
    with pytest.raises(NotAllowed, match="plain http"):
        DagsterClient(target(root, "http://dagster.example"))
    assert calls(root) == []


MALFUNCTIONS = {
    "not there": (("./s3cret-program",), SetupError, "No such file"),
    "not a program": (("./dagmar.yaml", "s3cret"), SetupError, "Permission denied"),
    "a failure": (
        (sys.executable, "-c", "import sys; print('s3cret'); sys.exit('s3cret')"),
        NotAllowed,
        "ended with status 1",
    ),
    "killed": (
        (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
        NotAllowed,
        "ended with status -9",
    ),
    "nothing": ((sys.executable, "-c", "print()"), NotAllowed, "printed nothing"),
    "two lines": (
        (sys.executable, "-c", "print('s3cret'); print('s3cret')"),
        NotAllowed,
        "more than one line",
    ),
    "not text": (
        (sys.executable, "-c", "import sys; sys.stdout.buffer.write(b's3cret\\xff')"),
        NotAllowed,
        "characters that no token has",
    ),
    "asks on the terminal": (
        (sys.executable, "-c", "print(input('s3cret'))"),
        NotAllowed,
        "ended with status 1",
    ),
}


@pytest.mark.parametrize(("command", "kind", "words"), MALFUNCTIONS.values(), ids=MALFUNCTIONS)
def test_a_command_without_a_token_is_an_error_that_shows_nothing_of_it(
    command: tuple[str, ...],
    kind: type[DagmarError],
    words: str,
    root: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with serve(data(version="1")) as server, pytest.raises(kind) as caught:
        send(target(root, server, *command))
    assert server.seen == []
    assert "dagmar.yaml:4: targets.p.auth.token_command: the command" in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert "s3cret" not in shown


HANGING = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
    "open('pids.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
    "os.rename('pids.new', 'pids')\n"
    "time.sleep(1000)\n"
)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "TIMEOUT_SECONDS", 1.0)
    where = target(root, "http://127.0.0.1:9", sys.executable, "-c", HANGING)
    assert where.login
    with pytest.raises(NotAllowed, match="did not end within 1 s"):
        where.login.header()
    pids = (
        [int(pid) for pid in (root / "pids").read_text().split()]
        if (root / "pids").exists()
        else []
    )
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} still run"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("words", ["discover", "doctor", "run --asset orders"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_all_that_it_started(
    number: signal.Signals, words: str, root: Path
) -> None:
    """It has a session without a terminal, so it gets no signal from one."""
    (root / "tasks.py").write_text(
        "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"
    )
    with serve(page(500)) as server:
        target(root, server, sys.executable, "-c", HANGING)
        invoke = subprocess.Popen(
            [sys.executable, "-m", "invoke", *words.split()],
            cwd=root,
            env={**os.environ, "DAGMAR_TARGET": "p"},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_tests,
        )
        deadline = time.monotonic() + 120
        while not (root / "pids").exists():
            assert invoke.poll() is None, invoke.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        invoke.send_signal(number)
        _, talk = invoke.communicate(timeout=120)
    assert invoke.returncode == 130, talk
    assert "Traceback" not in talk
    pids = [int(pid) for pid in (root / "pids").read_text().split()]
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} still run"
        time.sleep(0.02)


@pytest.mark.parametrize("printed", [1, 1_000_000], ids=["a token", "more than a pipe holds"])
def test_the_end_of_the_command_counts_whoever_still_holds_its_output(
    printed: int, root: Path
) -> None:
    leaving = (
        "import subprocess, sys\n"
        f"print('t0ken' * {printed})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
    )
    where = target(root, "http://127.0.0.1:9", sys.executable, "-c", leaving)
    assert where.login
    token = where.login.header()["Authorization"]
    pid = int((root / "pid").read_text())
    try:
        assert token == "Bearer " + "t0ken" * printed
        assert _runs(pid), "what the command leaves in the background is its own affair"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_command_that_closes_its_output_is_waited_for(root: Path) -> None:
    closing = "import os, time; os.write(1, b't0ken'); os.close(1); time.sleep(0.3); os._exit(7)"
    where = target(root, "http://127.0.0.1:9", sys.executable, "-c", closing)
    assert where.login
    with pytest.raises(NotAllowed, match="ended with status 7"):
        where.login.header()


def test_a_program_of_the_project_is_found_wherever_the_kernel_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "scripts").mkdir()
    (root / "scripts/token.sh").write_text("#!/bin/sh\ncat scripts/token\n")
    (root / "scripts/token.sh").chmod(0o755)
    (root / "scripts/token").write_text("t0ken-of-the-project\n")
    target(root, "http://127.0.0.1:9", "./scripts/token.sh")
    (root / "notebooks").mkdir()
    monkeypatch.chdir(root / "notebooks")
    found = find_root(Path.cwd())
    monkeypatch.chdir("/")
    login = load(found, {}, found).target("p").login
    assert login
    assert login.header() == {"Authorization": "Bearer t0ken-of-the-project"}


def test_neither_the_command_nor_its_token_is_in_a_repr(root: Path) -> None:
    where = target(root, "http://127.0.0.1:9")
    assert where.login
    assert where.login.header() == {"Authorization": "Bearer t0ken-1"}
    settings = load(root, dict(os.environ), root)
    with DagsterClient(where) as client:
        shown = repr(where) + repr(where.login) + repr(settings) + repr(client) + repr(vars(client))
    assert "t0ken" not in shown
    assert "printer" not in shown


def test_a_token_command_is_refused_for_other_logins(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"unknown key 'targets\.p\.auth\.token_command'"):
        target(root, "http://127.0.0.1:9", kind="none")
