"""A process that finds the disk full."""

from __future__ import annotations

import os
import resource


def fill(limit: int) -> None:
    """Let no file of this process have more than `limit` bytes; called after a fork."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def environ() -> dict[str, str]:
    """Return the environment without what would make Python itself write files.

    It would leave half of a compiled module, and report that coverage cannot be saved.
    """
    left = {name: text for name, text in os.environ.items() if "COVERAGE_PROCESS" not in name}
    return {**left, "PYTHONDONTWRITEBYTECODE": "1"}
