"""What the operating system refuses is a message and a status, never a traceback."""

from __future__ import annotations

import errno
import gc
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from dagmar.errors import SetupError
from dagmar.tasks.command import command, seldom_collected
from invoke import Context, Exit
from support import full_disk
from support.project import make_project


def refused(error: Exception) -> int | None:
    """Return the status of a task that raises `error`."""

    def task(context: Context) -> None:
        raise error

    with pytest.raises(Exit) as ended:
        command(task).body(Context())
    return ended.value.code


@pytest.mark.parametrize("file", [None, "orders.parquet"])
@pytest.mark.parametrize("number", sorted(errno.errorcode), ids=errno.errorcode.get)
def test_every_refusal_of_the_operating_system_says_what_and_what_helps(
    number: int, file: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(OSError(number, os.strerror(number), file)) == SetupError.exit_code
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert first.endswith(f": {os.strerror(number)}")
    assert (file or "") in first
    assert second.startswith("  ")
    assert second.endswith(".")


def test_where_it_was_refused_is_shown_by_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "dagmar"):
        refused(OSError(errno.ENOENT, "No such file or directory", "gone"))
    assert "Traceback" in caplog.text
    assert __file__ in caplog.text


def test_a_task_can_be_called_in_a_thread() -> None:
    def task(context: Context) -> None:
        raise SetupError("it ran")

    with ThreadPoolExecutor(1) as threads, pytest.raises(Exit) as ended:
        threads.submit(command(task).body, Context()).result()
    assert ended.value.code == SetupError.exit_code


def test_a_full_stdout_is_status_3_and_refused_once(tmp_path: Path) -> None:
    make_project(tmp_path)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "check", "--json"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == SetupError.exit_code
    assert "error: cannot write: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("mistake", [OSError("no number"), requests.ConnectionError("cut")])
def test_a_mistake_of_dagmar_keeps_its_traceback(mistake: OSError) -> None:
    def task(context: Context) -> None:
        raise mistake

    with pytest.raises(type(mistake)):
        command(task).body(Context())


LIMIT = """
import resource
from invoke import task

@task
def limit(c, files):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))

ns.add_task(limit)
"""


@pytest.mark.parametrize("arguments", [["discover"], ["clean", "--exports"], ["check"], ["stats"]])
def test_a_limit_of_open_files_is_status_3(arguments: list[str], tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / ".dagmar/exports/x").mkdir(parents=True)
    with (tmp_path / "tasks.py").open("a", encoding="utf-8") as tasks:
        tasks.write(LIMIT)
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "limit", "--files", "3", *arguments],
        cwd=project.root,
        env=full_disk.environ(),
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "Too many open files" in done.stderr
    assert done.returncode == SetupError.exit_code


def test_garbage_is_collected_as_before_once_a_large_answer_is_read() -> None:
    before = gc.get_threshold()
    with suppress(SetupError), seldom_collected():
        assert gc.get_threshold() > before
        raise SetupError("too large")
    assert gc.get_threshold() == before
