"""`invoke --list` of a project against an empty `tasks.py`: what dagmar adds to every call."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pairs import Command, Count, Row, pair

EMPTY = '''"""No tasks of dagmar."""

from invoke import task


@task
def nothing(c):
    """Do nothing."""
'''
OURS = "from dagmar.tasks import namespace\n\nns = namespace(__file__)\n"


def rows(count: Count) -> Iterator[Row]:
    """Time 21 pairs."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for name, text in (("ours", OURS), ("empty", EMPTY)):
            folders[name] = Path(scratch, name)
            folders[name].mkdir()
            (folders[name] / "tasks.py").write_text(text, "utf-8")
        listing = [sys.executable, "-m", "invoke", "--list"]
        yield pair(
            Command("invoke --list", listing, folders["ours"]),
            Command("invoke --list, empty tasks.py", listing, folders["empty"]),
            limit=1.15,
            count=count(21, 5),
        )
