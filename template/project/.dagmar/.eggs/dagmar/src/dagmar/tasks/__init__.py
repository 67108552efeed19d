"""The Invoke tasks: parse flags, call one function, print the result.

A project's `tasks.py` holds `ns = namespace(__file__)`. Everything that is slow to import
is imported inside a task, so that `invoke --list` stays quick.
"""

from __future__ import annotations

import sys
from pathlib import Path

from invoke import Collection

from dagmar import console
from dagmar.tasks.collection import Tasks, root_of
from dagmar.tasks.history import stats
from dagmar.tasks.notebooks import check, migrate, scaffold
from dagmar.tasks.project import clean, dev, doctor, leave, update
from dagmar.tasks.reports import export
from dagmar.tasks.runs import discover, run


def namespace(tasks_file: str, below: str = "") -> Collection:
    """Return the tasks for the project whose `tasks.py` is `tasks_file`, with the file's own.

    The file's folder is the project root, wherever `invoke` is called from. With `below`,
    dagmar's tasks are a collection of that name: `invoke below.run`.
    A name that two tasks have ends Invoke with status 8, once the file is loaded.
    """
    module = sys._getframe(1).f_globals
    ours = Collection(
        discover, run, stats, scaffold, migrate, dev, check, export, doctor, clean, update, leave
    )
    if below:
        console.tasks_below(below)
        ours = Collection(**{below: ours})
    file = Path(tasks_file).resolve()
    if Path(str(module.get("__file__"))).resolve() == file:
        return Tasks(root_of(file), module, ours)
    tasks = Tasks(root_of(file), {}, ours)
    tasks.complete()  # no module is loaded, so nothing is added
    return tasks
