"""`invoke clean` as its user types it, with a terminal and without one."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import pytest
from dagmar.upkeep import clean
from dagmar.upkeep.checking import Project
from rich.filesize import decimal
from support import forked
from support.git import git
from support.leftovers import CACHED, LOGS, OLD, age, fill, make


@pytest.fixture
def full(sound: Project) -> Project:
    """A project with exports, cache and logs, and with files of the user next to them."""
    fill(sound.root)
    return sound


def call(project: Project, *flags: str) -> subprocess.CompletedProcess[str]:
    """Call `invoke clean` as its user would, without a terminal."""
    return forked.invoke(["clean", *flags], project.root, project.environ, timeout=120)


def test_clean_removes_exports_cache_and_logs_and_nothing_else(full: Project) -> None:
    before = {path for path in full.root.rglob("*") if ".git" not in path.parts}
    size = decimal(clean.look(full.root, clean.choose()).size)
    done = call(full, "--yes")
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()] == [*OLD, CACHED, *LOGS]
    assert f"Removed {size}." in done.stderr
    gone = before - set(full.root.rglob("*"))
    names = {path.relative_to(full.root).as_posix() for path in gone if path.is_file()}
    named = {*OLD, CACHED, *LOGS}
    assert {path.relative_to(full.root).as_posix() for path in gone} >= named
    assert {name for name in names if not name.startswith(tuple(named))} == set()
    assert git(full.root, "status", "--porcelain") == ""
    assert "nothing to remove" in call(full, "--yes").stderr


def test_a_history_that_was_read_is_cache(full: Project) -> None:
    names = [f".dagmar/cache/history-0123456789abcdef.db{end}" for end in ("", "-journal")]
    for name in names:
        make(full.root, name)
    assert call(full, "--cache", "--yes").returncode == 0
    assert not any((full.root / name).exists() for name in names)


def test_dry_run_shows_sizes_and_removes_nothing(full: Project) -> None:
    size = sum(file.stat().st_size for file in (full.root / OLD[0]).iterdir())
    done = call(full, "--dry-run", "--exports")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split()[:3] == [*decimal(size).split(), OLD[0]]
    assert f"2 items, {decimal(2 * size)}" in done.stderr
    assert all((full.root / name).exists() for name in (*OLD, CACHED, *LOGS))


@pytest.mark.parametrize(
    ("flag", "gone"), [("--exports", OLD), ("--cache", [CACHED]), ("--logs", LOGS)]
)
def test_a_kind_that_is_named_goes_alone(flag: str, gone: list[str], full: Project) -> None:
    assert call(full, flag, "--yes").returncode == 0
    there = {name for name in (*OLD, CACHED, *LOGS) if (full.root / name).exists()}
    assert there == {*OLD, CACHED, *LOGS} - set(gone)


def test_older_than_leaves_what_is_newer(full: Project) -> None:
    for name, days in ((f"{OLD[0]}/manifest.json", 31), (LOGS[1], 30.5), (LOGS[0], 29)):
        age(full.root / name, days)
    done = call(full, "--older-than", "30", "--yes")
    assert [line.split()[2] for line in done.stdout.splitlines()] == [OLD[0], LOGS[1]]
    assert (full.root / LOGS[0]).exists()


@pytest.mark.parametrize("days", ["soon", "-1", "inf", "nan"])
def test_days_that_are_no_number_are_wrong_usage(days: str, full: Project) -> None:
    done = call(full, "--older-than", days, "--yes")
    assert done.returncode == 2
    assert "--older-than takes a number of days" in done.stderr
    assert (full.root / CACHED).exists()


def test_without_a_terminal_it_lists_and_asks_for_yes(full: Project) -> None:
    done = call(full)
    assert done.returncode == 2
    assert OLD[0] in done.stdout
    assert "add --yes" in done.stderr
    assert (full.root / OLD[0]).exists()


def answered(
    full: Project, answer: str, *flags: str, interfere: Callable[[], object] = bool
) -> tuple[int, str]:
    """Call `invoke clean` on a terminal and answer its question, after `interfere`."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", "clean", *flags],
        cwd=full.root,
        env={**os.environ, **full.environ},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(ours, 1000)
        interfere()
        os.write(ours, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # which is how a terminal tells its end
            while part := os.read(ours, 1000):
                said += part
        status = process.wait(60)
    os.close(ours)
    return status, said.decode()


@pytest.mark.parametrize(("answer", "there"), [("n", True), ("", True), ("y", False)])
def test_on_a_terminal_it_asks(answer: str, there: bool, full: Project) -> None:
    assert answered(full, answer, "--cache")[0] == 0
    assert (full.root / CACHED).exists() is there


def test_what_changes_until_the_answer_stays(full: Project) -> None:
    page = full.root / OLD[0] / "a.html"

    def change() -> None:
        page.write_text("mine")
        git(full.root, "add", "--force", CACHED)
        make(full.root, LOGS[0], "it goes on")

    status, said = answered(full, "y", interfere=change)
    assert status == 0
    assert page.read_text() == "mine"
    assert f"stays: {OLD[0]}: a.html was changed since" in said
    assert f"stays: {CACHED}: git tracks {CACHED}" in said
    assert f"stays: {LOGS[0]}: it was changed since it was listed" in said
    there = [(full.root / name).exists() for name in (*OLD, CACHED, *LOGS)]
    assert there == [True, False, True, True, False]
