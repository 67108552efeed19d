"""The tags of every run by dagmar: who launches it, from which revision, with which versions."""

from __future__ import annotations

import contextlib
import getpass
import platform
from collections.abc import Mapping
from pathlib import Path

from dagmar import __version__
from dagmar.errors import SetupError
from dagmar.project.installing import installed_version
from dagmar.project.survey import requirements
from dagmar.project.templates import git

USER_TAG = "user"
REVISION_TAG = "dagmar/git-revision"
NOTEBOOK_TAG, APP_TAG = "dagmar/notebook", "dagmar/app"
"""Of a run that a notebook launched, in the editor or as an app: its file in the project."""
HERE_TAG = "dagmar/here"
"""Of a run that a notebook's kernel made."""
PROCESS_TAG = "dagmar/process"
"""The id of that kernel's process."""
QUIET = {"console": {"config": {"log_level": "INFO"}}}
"""The loggers of such a run, if its config has none: no debug messages fill the cell."""
CPU_TAG, MEMORY_TAG = "dagmar/cpu-seconds", "dagmar/peak-memory-mb"
"""What such a run used, and the most memory of its kernel (in 10^6 bytes)."""
VERSION_TAG = "dagmar/version."
"""Before a package's name; Dagster deprecates tags with a second slash."""
MOST_VERSIONS = 30
MOST_LETTERS = 48  # of a name, as Dagster takes 63 for all behind the slash; and of a version


def own_tags(root: Path) -> dict[str, str]:
    """Return who launches, and from which revision, as far as both are known."""
    tags = user_tag()
    with contextlib.suppress(OSError, SetupError):  # no git
        revision = git(root, "rev-parse", "--verify", "HEAD", timeout=5)
        if revision.returncode == 0:  # else no repository, or no commit
            tags[REVISION_TAG] = revision.stdout.strip()
    return tags


def user_tag() -> dict[str, str]:
    """Return who launches, if that is known."""
    with contextlib.suppress(OSError, KeyError):  # a container may have no such user
        return {USER_TAG: getpass.getuser()}
    return {}


def versions(root: Path) -> dict[str, str]:
    """Return what this process runs with: Python, dagmar, Dagster, marimo, what `root` requires.

    What the project requires only through other packages is left out.
    """
    found = {"python": platform.python_version(), "dagmar": __version__}
    for name in ("dagster", "marimo", *requirements(root)):
        if name not in found and (version := installed_version(name)):
            found[name] = version
    return found


def version_tags(versions: Mapping[str, str]) -> dict[str, str]:
    """Return versions as tags of a run; a few of them, and short ones."""
    short = {
        name: version
        for name, version in versions.items()
        if max(len(name), len(version)) <= MOST_LETTERS
    }
    return {f"{VERSION_TAG}{name}": short[name] for name in list(short)[:MOST_VERSIONS]}


def versions_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that the tags of a run name."""
    length = len(VERSION_TAG)
    return {name[length:]: tags[name] for name in tags if name.startswith(VERSION_TAG)}
