"""The request of an `invoke export`, and the notebooks that it selects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.notebook import checking
from dagmar.notebook.cells import PARTITION, read_source
from dagmar.notebook.render import FORMATS
from dagmar.project.settings import Settings


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
        for format in self.formats:
            if format not in FORMATS:
                raise UsageError(
                    f"there is no format '{format}'{did_you_mean(format, FORMATS)}",
                    f"Choose from: {', '.join(FORMATS)}",
                )
        chosen = bool(self.notebooks) + self.all + bool(self.existing)
        if chosen != 1:
            raise UsageError(
                "give only one of --notebook, --all and --existing"
                if chosen
                else "no notebook is selected: use --notebook PATH, or --all",
                "For example:",
                command="invoke export --notebook notebooks/orders.py",
            )
        if self.attach and (self.all or len(self.notebooks) > 1):
            raise UsageError(
                "--attach links one notebook with one asset",
                "Export the notebooks one by one, each with its own --attach.",
            )
        if self.partition and self.existing and not self.attach:
            raise UsageError(
                "with --existing, --partition needs --attach", "Give the asset: --attach KEY"
            )
        if self.partition and self.parameters.get(PARTITION, self.partition) != self.partition:
            raise UsageError(
                f"--partition and --param {PARTITION} differ", "Give only one of them."
            )
        if self.existing and self.dry_run:
            raise UsageError(
                "--existing and --dry-run exclude each other", "Leave one of them out."
            )
        if self.existing and (self.parameters or self.timeout):
            raise UsageError(
                "--existing does not run a notebook, so --param and --timeout have no effect",
                "Leave them out.",
            )


def parameters_of(request: ExportRequest, notebook: Path) -> dict[str, str]:
    """Return the parameters of one notebook; `--partition` is one if the notebook defines it.

    Raises Invalid for a notebook that was named and does not define a partition.
    """
    parameters = dict(request.parameters)
    if request.partition:
        if PARTITION in read_source(notebook).input_names():
            parameters[PARTITION] = request.partition
        elif request.notebooks and not request.attach:
            raise Invalid(
                f"{notebook.name} does not take a partition",
                f"Define {PARTITION} in its inputs cell, or leave --partition out.",
            )
    return parameters


def find_notebooks(settings: Settings, request: ExportRequest) -> list[Path]:
    """Return the notebooks to export. Raises Invalid for a path that is not a notebook."""
    if not request.all:
        return list(dict.fromkeys(_existing(settings, path) for path in request.notebooks))
    notebooks = checking.find_notebooks(settings, ())
    if not notebooks:
        raise Invalid(
            f"there are no notebooks in {settings.notebooks.name}",
            "Create one:",
            command="invoke scaffold --asset KEY",
        )
    return notebooks


def _existing(settings: Settings, name: str) -> Path:
    path = Path(name).expanduser()
    for candidate in (path, settings.root / path, settings.notebooks / path):
        if candidate.is_file():
            return candidate.resolve()
    if path.is_dir():
        raise Invalid(f"{name} is a folder", "Give a file, or export all notebooks with --all.")
    known = {file.stem: file for file in settings.notebooks.rglob("*.py")}
    meant = did_you_mean(path.stem, known)
    for stem, file in known.items():
        # The suggestion can be pasted, also in a folder below the project.
        meant = meant.replace(f"'{stem}'", f"'{os.path.relpath(file)}'")
    raise Invalid(
        f"there is no notebook {name}{meant}", f"Notebooks are in {settings.notebooks.name}/."
    )
