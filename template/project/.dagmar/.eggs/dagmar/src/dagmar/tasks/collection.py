"""dagmar's tasks next to those of a user's `tasks.py`: neither hides the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from invoke import Collection, Exit, Task

from dagmar import console
from dagmar.errors import Conflict
from dagmar.project.layout import SETTINGS_FILE, relative

Named: TypeAlias = "Task[Any] | Collection"
BELOW = "dagmar"
"""The name to suggest for a collection of dagmar's tasks."""
EXPLICIT = ("ns", "namespace")
"""What Invoke looks for in a module of tasks, before it takes the module's own."""


class Tasks(Collection):
    """The user's tasks, which dagmar's join once Invoke has loaded the module.

    `module` are the names of the user's module. Its collection, if it has one, says what its
    tasks are; otherwise they are all that it defines, above and below.
    """

    def __init__(self, root: Path, module: Mapping[str, Any], joining: Collection) -> None:
        """Start with the user's collection, or without any task."""
        named = (module.get(name) for name in EXPLICIT)
        theirs = next((one for one in named if isinstance(one, Collection)), None)
        super().__init__(auto_dash_names=theirs.auto_dash_names if theirs else None)
        self._root, self._joining = root, joining
        self._module = {} if theirs else module
        if theirs:
            self.name, self.default = theirs.name, theirs.default
            self.tasks, self.collections = theirs.tasks, theirs.collections
            self.configure(theirs.configuration())
        self.configure({"dagmar": {"root": str(root)}})

    def __bool__(self) -> bool:
        """Complete the collection: Invoke asks this first, and then copies it."""
        self.complete()
        return super().__bool__()

    def complete(self) -> None:
        """Take in the tasks of the module, and dagmar's. Raises Exit if two have one name."""
        known = [*_all_tasks(self), *_all_tasks(self._joining)]
        for task in [one for one in self._module.values() if isinstance(one, Task)]:
            if not any(task is other for other in known):
                self.add_task(task)
        for name, task in [*self._joining.tasks.items(), *self._joining.collections.items()]:
            taken = self.tasks.get(self.tasks.aliases.get(name, name))
            taken = self.collections.get(name) if taken is None else taken
            if taken is None:
                self._add_object(task, name)
            elif taken is not task:
                console.complain(error := self._conflict(name, task, taken))
                raise Exit(code=error.exit_code)

    def _conflict(self, name: str, ours: Named, theirs: Named) -> Conflict:
        hint = f'Give yours another name, such as @task(name="my-{name}").'
        if isinstance(ours, Task):
            hint += (
                " Or keep it, and put dagmar's tasks into a collection with "
                f'namespace(__file__, "{BELOW}"); you then type `invoke {BELOW}.{name}`.'
            )
        yours, own = _place(theirs, self._root), _place(ours, self._root)
        return Conflict(
            f"two tasks are called '{name}': yours ({yours}) and dagmar's ({own})", hint
        )


def root_of(tasks_file: Path) -> Path:
    """Return the project of a tasks file: its folder, or the one above if it is in a package."""
    folder = tasks_file.parent
    while not (folder / SETTINGS_FILE).is_file() and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _all_tasks(collection: Collection) -> Iterator[Task[Any]]:
    yield from collection.tasks.values()
    for inner in collection.collections.values():
        yield from _all_tasks(inner)


def _place(thing: Named, root: Path) -> str:
    """Return where a task is written; a collection has no line."""
    code = isinstance(thing, Task) and getattr(inspect.unwrap(thing.body), "__code__", None)
    if not code:
        return f"a {type(thing).__name__.lower()}"
    return f"{relative(Path(code.co_filename), root)}:{code.co_firstlineno}"
