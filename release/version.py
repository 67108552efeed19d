"""The version: it is in the runner's `__init__.py`, and the tag is made from it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from dagmar.errors import Conflict, SetupError
from packaging.version import InvalidVersion, Version

RUNNER = "template/project/.dagmar/.eggs/dagmar"
FILE = f"{RUNNER}/src/dagmar/__init__.py"
ADDRESS = f"{RUNNER}/pyproject.toml"
_LINE = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)


def git(root: Path, *arguments: str) -> str:
    """Run git and return what it prints. Raises SetupError with git's last line."""
    return run(["git", *arguments], root)


def run(command: list[str], folder: Path, environ: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints on stdout.

    The environment has no settings of dagmar and no virtual environment. Raises SetupError with
    the end of what the command prints.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("DAGMAR_")}
    kept.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command, cwd=folder, env={**kept, **(environ or {})}, capture_output=True, text=True
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise SetupError(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")
    return done.stdout


def read_version(root: Path) -> str:
    """Return the version in the source."""
    found = _LINE.findall((root / FILE).read_text("utf-8"))
    if len(found) != 1:
        raise SetupError(f"{FILE} has {len(found)} lines with __version__")
    return str(found[0])


def write_version(root: Path, version: str) -> None:
    """Write the version into the source."""
    text = (root / FILE).read_text("utf-8")
    (root / FILE).write_text(_LINE.sub(f'__version__ = "{version}"', text), "utf-8")


def released(root: Path) -> list[str]:
    """Return the versions that are tagged, oldest first."""
    return sorted(_versions(git(root, "tag", "--list", "v*")), key=Version)


def tagged_here(root: Path) -> list[str]:
    """Return the versions whose tags are at the current commit."""
    return _versions(git(root, "tag", "--points-at", "HEAD"))


def _versions(tags: str) -> list[str]:
    found = []
    for tag in tags.split():
        try:
            Version(tag.removeprefix("v"))
        except InvalidVersion:
            continue
        if tag.startswith("v"):
            found.append(tag.removeprefix("v"))
    return found


def check_clean(root: Path) -> None:
    """Raise Conflict if something is not committed."""
    if changed := git(root, "status", "--porcelain"):
        raise Conflict(f"not everything is committed:\n{changed.rstrip()}", "Commit it first.")


def check_version(root: Path) -> str:
    """Return the version, if it is a new one, or that of the tag at the current commit.

    Raises Conflict for another tag at this commit, for a version that another commit has, and for
    one that is not newer than every release; SetupError while the public address is not known.
    """
    version, here = read_version(root), tagged_here(root)
    if others := [f"v{tag}" for tag in here if tag != version]:
        message = f"the tag of this commit is {', '.join(others)}, and __version__ is {version}"
        raise Conflict(message, "Delete the tag; `invoke release --tag` makes the right one.")
    if here and git(root, "cat-file", "-t", f"v{version}").strip() != "tag":
        message = f"v{version} has no author and no date"
        raise Conflict(message, f"Type: git tag --delete v{version}; then `invoke release --tag`.")
    earlier = [tag for tag in released(root) if tag not in here]
    if version in earlier:
        message = f"{version} is released already, from another commit"
        raise Conflict(message, command="invoke release --prepare")
    if earlier and Version(version) < Version(earlier[-1]):
        message = f"__version__ is {version}, and {earlier[-1]} is released"
        raise Conflict(message, command="invoke release --prepare")
    if "example.invalid" in (root / ADDRESS).read_text("utf-8"):
        message = "the public address of this repository is not known"
        raise SetupError(message, f"Write it into [project.urls] of {ADDRESS}.")
    return version
