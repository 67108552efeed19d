"""The tags of every launch by dagmar: who launches a run, and from which revision."""

from __future__ import annotations

import contextlib
import getpass
from pathlib import Path

from dagmar.errors import SetupError
from dagmar.project.templates import git

USER_TAG = "user"
REVISION_TAG = "dagmar/git-revision"


def own_tags(root: Path) -> dict[str, str]:
    """Return who launches, and from which revision, as far as both are known."""
    tags = {}
    with contextlib.suppress(OSError, KeyError):  # a container may have no such user
        tags[USER_TAG] = getpass.getuser()
    with contextlib.suppress(OSError, SetupError):  # no git
        revision = git(root, "rev-parse", "--verify", "HEAD", timeout=5)
        if revision.returncode == 0:  # else no repository, or no commit
            tags[REVISION_TAG] = revision.stdout.strip()
    return tags
