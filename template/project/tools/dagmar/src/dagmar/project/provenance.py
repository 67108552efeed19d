"""Who launches a run, and from which revision: tags that every launch of ours carries."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
from pathlib import Path

USER_TAG = "user"
REVISION_TAG = "dagmar/git-revision"


def own_tags(root: Path) -> dict[str, str]:
    """Return who launches, and from which revision, as far as it can be known."""
    tags = {}
    with contextlib.suppress(OSError, KeyError):  # a container may have no such user
        tags[USER_TAG] = getpass.getuser()
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # no git, or no repository
        revision = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=root,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        tags[REVISION_TAG] = revision.stdout.strip()
    return tags
