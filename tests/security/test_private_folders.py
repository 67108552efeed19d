"""The folders in `.dagmar` are private, also to git, and stay open to a group that was let in."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.project import devfile
from dagmar.project.layout import (
    DAGMAR,
    DEV_FILE,
    LOCAL_INSTANCE,
    LOGIN_PAGE,
    RUNNER,
    SESSION_NOTE,
    STARTED_WITH,
    UPDATE_ANSWERS,
    WORKING,
    keep_out_of_git,
    make_folder,
)
from support.git import git


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    """The umask of a system whose users trust each other."""
    before = os.umask(0o000)
    yield
    os.umask(before)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize("name", [*WORKING, LOCAL_INSTANCE], ids=str)
def test_what_is_in_dagmars_folder_is_private(name: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / name)
    assert mode(tmp_path / name) == 0o700
    (tmp_path / name).chmod(0o755)  # as git creates it in a clone
    make_folder(tmp_path / name)
    assert mode(tmp_path / name) & 0o007 == 0


def test_a_group_that_was_let_in_stays(tmp_path: Path) -> None:
    make_folder(tmp_path / LOCAL_INSTANCE)
    (tmp_path / LOCAL_INSTANCE).chmod(0o2770)
    make_folder(tmp_path / LOCAL_INSTANCE)
    assert mode(tmp_path / LOCAL_INSTANCE) == 0o2770


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EROFS, errno.ENOTSUP])
def test_a_folder_whose_mode_cannot_be_changed_is_used_as_it_is(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / LOCAL_INSTANCE
    folder.mkdir(parents=True)
    asked = []

    def refuse(path: Path, mode: int) -> None:
        asked.append((path, mode))
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(Path, "chmod", refuse)
    make_folder(folder)
    assert asked == [(folder, 0o770)]


def test_the_runner_stays_readable_for_a_container_with_another_user(tmp_path: Path) -> None:
    (tmp_path / RUNNER).mkdir(parents=True)
    make_folder(tmp_path / LOCAL_INSTANCE)
    assert mode(tmp_path / DAGMAR) == 0o777
    assert mode(tmp_path / RUNNER) == 0o777


def test_a_folder_elsewhere_is_as_the_system_makes_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "reports" / "sent")
    assert mode(tmp_path / "reports" / "sent") == 0o777


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


def added(root: Path) -> list[str]:
    git(root, "add", "-A")
    return git(root, "ls-files").splitlines()


@pytest.mark.parametrize("name", [*WORKING, LOCAL_INSTANCE], ids=str)
def test_git_sees_nothing_of_a_working_folder(name: Path, repository: Path) -> None:
    make_folder(repository / name)
    for file in ("x", "deeper/x", "dagster.yaml"):
        (repository / name / file).parent.mkdir(exist_ok=True)
        (repository / name / file).write_text("x")
    committed = [f"{name}/dagster.yaml"] if name == LOCAL_INSTANCE else []
    assert added(repository) == committed


@pytest.mark.parametrize(
    "file", [DEV_FILE, LOGIN_PAGE, SESSION_NOTE, STARTED_WITH, UPDATE_ANSWERS], ids=str
)
def test_each_file_of_the_runner_is_in_a_folder_that_git_does_not_see(file: Path) -> None:
    assert file.parent in WORKING


def test_git_does_not_see_where_invoke_dev_listens(repository: Path) -> None:
    devfile.write(repository, devfile.Running(os.getpid(), devfile.now()))
    assert devfile.read(repository)
    assert added(repository) == []


@pytest.mark.parametrize(("text", "seen"), [("", False), ("!*\n", True), ("*.db\n", True)])
def test_a_gitignore_that_somebody_wrote_stays_and_an_empty_one_is_completed(
    text: str, seen: bool, repository: Path
) -> None:
    make_folder(repository / WORKING[0])
    ignore = repository / WORKING[0] / ".gitignore"
    ignore.write_text(text)
    (repository / WORKING[0] / "x").write_text("x")
    make_folder(repository / WORKING[0])
    assert (ignore.read_text() == text) is seen
    assert (f"{WORKING[0]}/x" in added(repository)) is seen


def test_folders_that_are_there_are_hidden_and_no_other_is_created(repository: Path) -> None:
    (repository / WORKING[1]).mkdir(parents=True)
    (repository / WORKING[1] / "x").write_text("x")
    assert keep_out_of_git(repository) == [WORKING[1]]
    assert keep_out_of_git(repository) == []
    assert added(repository) == []
    assert [path.name for path in (repository / DAGMAR).iterdir()] == [WORKING[1].name]


def test_nothing_is_written_where_a_link_leads(repository: Path) -> None:
    (repository / "shared").mkdir()
    (repository / DAGMAR).mkdir()
    (repository / WORKING[0]).symlink_to(repository / "shared")
    (repository / WORKING[1]).mkdir()
    (repository / WORKING[1] / ".gitignore").symlink_to(repository / "shared/mine")
    make_folder(repository / WORKING[0])
    make_folder(repository / WORKING[1])
    assert [*(repository / "shared").iterdir()] == []


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_in_which_nothing_can_be_written_is_used_as_it_is(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(path: Path, *_: object) -> int:
        asked.append(path)
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "open", refuse)
    make_folder(tmp_path / LOCAL_INSTANCE)
    assert asked == [tmp_path / LOCAL_INSTANCE / ".gitignore"]
    assert (tmp_path / LOCAL_INSTANCE).is_dir()
