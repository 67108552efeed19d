"""Real git, with an author and without the settings of whoever runs the tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

GIT_ENVIRON = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{role}_{what}": text
        for role in ("AUTHOR", "COMMITTER")
        for what, text in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
    },
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in the folder and return what it prints."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    """Commit everything."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
