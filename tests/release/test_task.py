"""`invoke release`: one step at a time, and no tag before the check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import git


@pytest.fixture(scope="module")
def clone(make_clone: Callable[[str], Path]) -> Path:
    """A clone that may be released."""
    return make_clone("https://example.com/dagmar")


def invoke(clone: Path, *arguments: str, status: int = 0) -> str:
    """Call `invoke release`, and return what it prints."""
    command = [sys.executable, "-m", "invoke", "release", *arguments]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_version_is_prepared_and_its_notes_are_printed(clone: Path) -> None:
    assert invoke(clone, "--prepare", "--new", "0.9.0") == "Committed 0.9.0.\n"
    assert git(clone, "log", "-1", "--format=%s") == "chore(release): 0.9.0\n"
    assert invoke(clone, "--notes").startswith("## 0.9.0 - ")
    git(clone, "reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize("flags", [["--check", "--to", "dist"], ["--tag"]])
def test_what_the_check_refuses_is_not_built_and_not_tagged(clone: Path, flags: list[str]) -> None:
    git(clone, "tag", "-a", "v7.0.0", "-m", "x")
    said = invoke(clone, *flags, status=8)
    assert "the tag of this commit is v7.0.0, and __version__ is " in said
    assert git(clone, "tag") == "v7.0.0\n"
    assert not (clone / "dist").exists()
    git(clone, "tag", "--delete", "v7.0.0")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "one of --prepare"),
        (["--prepare", "--tag"], "one of --prepare"),
        (["--tag", "--new", "1.0.0"], "--new belongs to --prepare"),
        (["--prepare", "--to", "dist"], "--to to --check"),
    ],
)
def test_flags_that_do_not_fit_together_are_status_2(
    clone: Path, flags: list[str], says: str
) -> None:
    assert says in invoke(clone, *flags, status=2)
