"""A file is written whole or not at all."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from dagmar import files
from dagmar.errors import Invalid
from dagmar.files import CHECK_PATH, READABLE, alone, expanded, reading, write_all, write_atomically
from support.source import SOURCE


def test_a_file_and_its_folders_are_written(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "c.json"
    write_atomically(file, "grün\n")
    write_atomically(file, "blau\n")
    assert file.read_text("utf-8") == "blau\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_not_there_is_not_said_to_be_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    for name, hint in (
        ("gone.yaml", CHECK_PATH),
        ("bytes.yaml/x.yaml", CHECK_PATH),
        ("bytes.yaml", READABLE),
        (".", READABLE),
    ):
        with pytest.raises(Invalid, match="cannot be read") as caught, reading(name, Invalid):
            (tmp_path / name).read_text("utf-8")
        assert caught.value.hint == hint


def test_a_write_that_fails_keeps_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "x" * 100_000 + "\ud800")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_replacement_that_fails_leaves_nothing_behind(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.json"
    file.write_text("old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(type(error)):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_in_the_way_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("broken", ["mkstemp", "link"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_of_several_files_all_are_written_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, at: int
) -> None:
    old = {tmp_path / name: "old" for name in ("a", "b", "c")}
    write_all(old)
    if broken == "link":
        # The last thing that can fail: some are in their place by then.
        where, real = files.os, os.link
    else:
        where, real = files.tempfile, files.tempfile.mkstemp
    calls = []

    def fails(*given: object, **more: object) -> object:
        calls.append(given)
        if len(calls) == at:
            raise FULL
        return real(*given, **more)  # type: ignore[arg-type,operator]

    with monkeypatch.context() as patch:
        patch.setattr(where, broken, fails)
        with pytest.raises(OSError, match="No space"):
            write_all({**dict.fromkeys(old, "new"), tmp_path / "d": "new"})
    assert {file: file.read_text() for file in sorted(tmp_path.iterdir())} == old
    write_all({**dict.fromkeys(old, "new"), tmp_path / "sub" / "d": "new"})
    assert {file.read_text() for file in tmp_path.rglob("*") if file.is_file()} == {"new"}
    assert len(list(tmp_path.rglob("*"))) == 5


def test_new_files_that_cannot_all_be_written_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, to: Path) -> Path:
        if to.name == "b":
            raise FULL
        return Path(os.replace(self, to) or to)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_all({tmp_path / "a": "new", tmp_path / "b": "new"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks of folders")

    monkeypatch.setattr("fcntl.flock", refuse)
    with alone(tmp_path), alone(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_the_home_of_an_unknown_user_is_a_folder_of_that_name_as_in_a_shell() -> None:
    assert expanded("~/reports") == Path.home() / "reports"
    assert expanded("~nobody-of-this-name/reports") == Path("~nobody-of-this-name/reports")


def test_no_module_expands_a_path_in_the_way_that_raises() -> None:
    calls = {
        f"{file.relative_to(SOURCE).as_posix()}: {ast.unparse(node)}"
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "expanduser"
    }
    assert {call for call in calls if not call.endswith(": os.path.expanduser")} == set()
    assert "files.py: os.path.expanduser" in calls
