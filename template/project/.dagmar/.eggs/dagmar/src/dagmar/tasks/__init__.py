"""The Invoke tasks: parse flags, call one function, print the result.

A project's `tasks.py` holds `ns = namespace(__file__)`. Everything that is slow to import
is imported inside a task, so that `invoke --list` stays quick.
"""

from __future__ import annotations

from pathlib import Path

from invoke import Collection

from dagmar.tasks.notebooks import check, scaffold
from dagmar.tasks.project import clean, dev, doctor, leave, update
from dagmar.tasks.reports import export
from dagmar.tasks.runs import discover, run


def namespace(tasks_file: str) -> Collection:
    """Return the tasks for the project whose `tasks.py` is `tasks_file`.

    Its folder is the project root, wherever `invoke` is called from.
    """
    collection = Collection(
        discover, run, scaffold, dev, check, export, doctor, clean, update, leave
    )
    collection.configure({"dagmar": {"root": str(Path(tasks_file).resolve().parent)}})
    return collection
