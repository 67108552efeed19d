"""The request of an `invoke export`, and the notebooks that it selects."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.files import expanded
from dagmar.notebook import checking
from dagmar.notebook.cells import PARTITION, read_source
from dagmar.notebook.inputs import bindings
from dagmar.notebook.render import FORMATS
from dagmar.project.settings import Settings

_SECRET = re.compile(r"://([^/@]*:[^@]*@|.*\?)")
"""A password, which may have a slash in it, or a query, as of a signed address."""


def require_no_password(address: str) -> None:
    """Raise UsageError for an address of a storage with a password or a signature in it."""
    if _SECRET.search(address):
        hint = "Set it where the storage library looks for it: in variables, or in a profile."
        raise UsageError("--upload takes no password and no query in its address", hint)


@dataclass(frozen=True)
class ExportRequest:
    """The flags of `invoke export`. `timeout` is in seconds, for each notebook."""

    notebooks: Sequence[str] = ()
    all: bool = False
    existing: str = ""
    formats: tuple[str, ...] = ("html",)
    output: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    attach: str = ""
    partition: str = ""
    upload: str = ""
    code: bool = True
    offline: bool = False
    compress: bool = False
    workers: int = 1
    timeout: float | None = None
    retention_days: float | None = None
    keep: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for an unknown format, and for flags that do not fit together."""
        for problem in self._problems():
            raise UsageError(*problem)

    def _problems(self) -> Iterator[tuple[str, ...]]:
        """Yield a message and a hint, and a command that the hint may lead to."""
        for format in self.formats:
            if format not in FORMATS:
                message = f"there is no format '{format}'{did_you_mean(format, FORMATS)}"
                yield message, f"Choose from: {', '.join(FORMATS)}"
        example = ("For example:", "invoke export --notebook notebooks/orders.py")
        chosen = bool(self.notebooks) + self.all + bool(self.existing)
        if chosen > 1:
            yield "give only one of --notebook, --all and --existing", *example
        if not chosen:
            yield "no notebook is selected: use --notebook PATH, or --all", *example
        if self.attach and (self.all or len(self.notebooks) > 1):
            hint = "Export the notebooks one by one, each with its own --attach."
            yield "--attach links one notebook with one asset", hint
        if self.partition and self.existing and not self.attach:
            yield "with --existing, --partition needs --attach", "Give the asset: --attach KEY"
        if self.partition and self.parameters.get(PARTITION, self.partition) != self.partition:
            yield f"--partition and --param {PARTITION} differ", "Give only one of them."
        if self.existing and self.dry_run:
            yield "--existing and --dry-run exclude each other", "Leave one of them out."
        if self.existing and (self.parameters or self.timeout or not self.code):
            message = "--existing does not run a notebook, so --param, --timeout and --no-code have"
            yield f"{message} no effect", "Leave them out."


def parameters_of(request: ExportRequest, notebook: Path) -> dict[str, str]:
    """Return the parameters of one notebook; `--partition` is one if the notebook defines it.

    Raises Invalid for a notebook that was named and does not define a partition.
    """
    parameters = dict(request.parameters)
    if request.partition:
        if PARTITION in bindings(read_source(notebook)):
            parameters[PARTITION] = request.partition
        elif request.notebooks and not request.attach:
            hint = f"Define {PARTITION} in its inputs cell, or leave --partition out."
            raise Invalid(f"{notebook.name} does not take a partition", hint)
    return parameters


def find_notebooks(settings: Settings, request: ExportRequest) -> list[Path]:
    """Return the notebooks to export. Raises UsageError for a path that names no file."""
    if not request.all:
        return list(dict.fromkeys(_existing(settings, path) for path in request.notebooks))
    notebooks = checking.find_notebooks(settings, ())
    if not notebooks:
        message = f"there are no notebooks in {settings.notebooks.name}"
        raise Invalid(message, "Create one:", command="invoke scaffold --asset KEY")
    return notebooks


def _existing(settings: Settings, name: str) -> Path:
    path = expanded(name)
    for candidate in (path, settings.root / path, settings.notebooks / path):
        if candidate.is_file():
            return candidate.resolve()
    if path.is_dir():
        raise UsageError(f"{name} is a folder", "Give a file, or export all notebooks with --all.")
    known = {file.stem: file for file in settings.notebooks.rglob("*.py")}
    meant = did_you_mean(path.stem, known)
    for stem, file in known.items():
        # The suggestion can be pasted, also in a folder below the project.
        meant = meant.replace(f"'{stem}'", f"'{os.path.relpath(file)}'")
    message = f"there is no notebook {name}{meant}"
    raise UsageError(message, f"Notebooks are in {settings.notebooks.name}/.")
