"""One file merged three ways, and its conflict for git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.git import commit, git
from support.hooks import hook

merging = hook("merging")
BASE = "a\nb\nc\nd\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a repository with one committed file, `x.py`, which can be executed."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl/x.py").write_text(BASE)
    (tmp_path / "etl/x.py").chmod(0o755)
    commit(tmp_path)
    return tmp_path / "etl"


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        (BASE, BASE, BASE),
        (BASE, "new\n", "new\n"),
        ("mine\n", BASE, "mine\n"),
        ("the same\n", "the same\n", "the same\n"),
        ("A\nb\nc\nd\n", "a\nb\nc\nD\n", "A\nb\nc\nD\n"),
        ("A\r\nb\r\nc\r\nd\r\n", "A\r\nb\r\nc\r\nd\r\n", "A\r\nb\r\nc\r\nd\r\n"),
        ("ä\udce9\nb\nc\nd\n", "a\nb\nc\nD\n", "ä\udce9\nb\nc\nD\n"),
    ],
)
def test_changes_of_both_are_merged(ours: str, theirs: str, merged: str) -> None:
    assert merging.merge_texts(BASE, ours, theirs) == (merged, False)


def test_a_conflict_is_marked_as_copier_marks_it() -> None:
    text, failed = merging.merge_texts("a\n", "mine\n", "new\n")
    assert failed
    assert text == "<<<<<<< before updating\nmine\n=======\nnew\n>>>>>>> after updating\n"


def test_what_git_cannot_merge_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="Cannot merge binary files"):
        merging.merge_texts("a\0\n", "b\0\n", "c\0\n")


def test_a_text_is_written_with_its_line_ends_bytes_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "new/folder/x.txt"
    merging.write_text(file, "a\r\nb\rä\udce9\n")
    assert file.read_bytes() == b"a\r\nb\r\xc3\xa4\xe9\n"
    merging.write_text(file, "again\n")
    assert file.read_bytes() == b"again\n"


def test_a_text_is_changed_with_its_line_ends_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"a\r\nb\r\xc3\xa4\xe9\n")
    merging.change_text(file, lambda text: text.replace("a\r\n", "A\r\n"))
    assert file.read_bytes() == b"A\r\nb\r\xc3\xa4\xe9\n"


def test_only_a_text_that_is_there_and_changes_is_written(tmp_path: Path) -> None:
    target, link, same = tmp_path / "target.txt", tmp_path / "link.txt", tmp_path / "same.txt"
    target.write_text("a\n")
    link.symlink_to(target)
    same.write_text("b\n")
    same.chmod(0o444)
    before = same.stat().st_mtime_ns
    for file in (link, same, tmp_path / "gone.txt", tmp_path):
        merging.change_text(file, lambda text: text.replace("a", "c"))
    assert (target.read_text(), link.is_symlink()) == ("a\n", True)
    assert (same.read_text(), same.stat().st_mtime_ns) == ("b\n", before)
    assert not (tmp_path / "gone.txt").exists()


def stages(folder: Path) -> list[str]:
    """Return mode, stage, name and text of each entry of git's index."""
    found = []
    for line in git(folder, "ls-files", "--stage", "--full-name").splitlines():
        facts, _, name = line.partition("\t")
        mode, blob, stage = facts.split()
        found.append(f"{mode} {stage} {name} {git(folder, 'cat-file', 'blob', blob)!r}")
    return found


def test_a_conflict_of_a_known_file_has_its_mode_and_three_texts(folder: Path) -> None:
    merging.mark_conflict(folder, "x.py", "base\n", "ours\n", "theirs\n")
    assert stages(folder) == [
        "100755 1 etl/x.py 'base\\n'",
        "100755 2 etl/x.py 'ours\\n'",
        "100755 3 etl/x.py 'theirs\\n'",
    ]
    assert git(folder, "status", "--porcelain") == "UU etl/x.py\n"


def test_a_conflict_of_a_file_that_is_gone_has_two_texts(folder: Path) -> None:
    merging.mark_conflict(folder, "y [1].py", "base\n", "ours\n", None)
    assert stages(folder) == [
        f"100755 0 etl/x.py {BASE!r}",
        "100644 1 etl/y [1].py 'base\\n'",
        "100644 2 etl/y [1].py 'ours\\n'",
    ]


def test_a_conflict_that_git_does_not_take_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="update-index"):
        merging.mark_conflict(tmp_path, "x.py", "base\n", "ours\n", "theirs\n")
