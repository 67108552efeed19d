"""The folders in `.dagmar` are private, and stay open to a group that was let in."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagmar.project.layout import DAGMAR, LOCAL_INSTANCE, RUNNER, WORKING, make_folder


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
