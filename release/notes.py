"""The changelog: git-cliff writes it from the commits, with introductions from docs/releases."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Literal

from release.version import run

INTRODUCTIONS = "docs/releases"
_MARK = re.compile(r"<!-- introduction: ?(.*?) -->\n+")
_BEFORE_HEADING = re.compile(r"\n+(?=##+ )")
_DATE = re.compile(r"^(## \S+) - \d{4}-\d\d-\d\d$", re.MULTILINE)


def next_version(root: Path) -> str:
    """Return the version that the commits since the last release ask for."""
    return _cliff(root, "--bumped-version").strip().removeprefix("v")


def write_notes(
    root: Path, version: str = "", only: Literal["", "latest", "unreleased"] = ""
) -> str:
    """Return the changelog, in which the commits since the last tag belong to `version`.

    `only` chooses one part, without the heading of the file. Raises SetupError for a commit whose
    type is not in cliff.toml.
    """
    flags = ["--tag", f"v{version}"] if version else []
    flags += [f"--{only}", "--strip", "header"] if only else []
    text = _cliff(root, *flags)
    text = _MARK.sub(lambda mark: _introduction(root, mark[1]), text)
    return _BEFORE_HEADING.sub("\n\n", text).strip() + "\n"


def without_dates(changelog: str) -> str:
    """Return a changelog without the days of its releases, which git and a calendar tell apart."""
    return _DATE.sub(r"\1", changelog)


def _introduction(root: Path, version: str) -> str:
    """Return the text of a page without its heading, with links that lead from the top."""
    page = root / INTRODUCTIONS / f"{version}.md"
    if not version or not page.is_file():
        return ""
    _, _, text = page.read_text("utf-8").partition("\n")
    return text.strip().replace("](../", "](docs/") + "\n\n"


def _cliff(root: Path, *flags: str) -> str:
    program = str(Path(sys.executable).with_name("git-cliff"))
    return run([program, "--config", "cliff.toml", "--offline", *flags], root)
