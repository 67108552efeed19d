"""What `invoke export` was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar.errors import Invalid, UsageError, did_you_mean
from dagmar.notebook.cells import PARTITION, read_source
from dagmar.notebook.render import FORMATS
from dagmar.project.settings import Settings

WORKERS = 16


@dataclass(frozen=True)
class Request:
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


def parse_formats(given: Sequence[str]) -> tuple[str, ...]:
    """Return the formats to write, each once. Raises UsageError."""
    for format in given:
        if format not in FORMATS:
            raise UsageError(
                f"there is no format '{format}'{did_you_mean(format, FORMATS)}",
                f"Choose of: {', '.join(FORMATS)}",
            )
    return tuple(dict.fromkeys(given)) or ("html",)


def check(request: Request) -> None:
    """Raise UsageError where the flags do not fit together."""
    chosen = bool(request.notebooks) + request.all + bool(request.existing)
    if chosen != 1:
        raise UsageError(
            "say which notebooks: --notebook PATH, or --all"
            if not chosen
            else "give one of --notebook, --all and --existing",
            "For example: invoke export --notebook notebooks/orders.py",
        )
    if request.attach and (request.all or len(request.notebooks) > 1):
        raise UsageError(
            "--attach links one notebook with one asset",
            "Export the notebooks one by one, each with its own --attach.",
        )
    if request.partition and request.existing and not request.attach:
        raise UsageError("--partition goes with --attach", "Give the asset: --attach KEY")
    if request.partition and request.parameters.get(PARTITION, request.partition) != (
        request.partition
    ):
        raise UsageError(
            f"--partition and --param {PARTITION} say different things", "Give one of them."
        )
    if request.existing and request.dry_run:
        raise UsageError(
            "--dry-run goes with --notebook or --all", "Leave --existing or --dry-run out."
        )
    if request.existing and (request.parameters or request.timeout):
        raise UsageError(
            "--existing runs no notebook, so --param and --timeout have no meaning there"
        )


def parameters_of(request: Request, notebook: Path) -> dict[str, str]:
    """Return what one notebook is run with; `--partition` goes to the one that takes it.

    Raises Invalid for a notebook that was named and cannot be about a partition.
    """
    parameters = dict(request.parameters)
    if request.partition:
        if PARTITION in read_source(notebook).input_names():
            parameters[PARTITION] = request.partition
        elif request.notebooks and not request.attach:
            raise Invalid(
                f"{notebook.name} takes no partition",
                f"Define {PARTITION} in its inputs cell, or leave --partition out.",
            )
    return parameters


def find_notebooks(settings: Settings, request: Request) -> list[Path]:
    """Return the notebooks to export. Raises Invalid for a path that is none."""
    from dagmar.notebook.checking import find_notebooks as find

    if request.all:
        found = find(settings, ())
        if not found:
            raise Invalid(
                f"there are no notebooks in {settings.notebooks.name}",
                "Make one: invoke scaffold --asset KEY",
            )
        return found
    notebooks = []
    for given in request.notebooks:
        path = _existing(settings, given)
        if path not in notebooks:
            notebooks.append(path)
    return notebooks


def _existing(settings: Settings, given: str) -> Path:
    path = Path(given).expanduser()
    for candidate in (path, settings.root / path, settings.notebooks / path):
        if candidate.is_file():
            return candidate.resolve()
    if path.is_dir():
        raise Invalid(f"{given} is a folder", "Give a file, or export them all with --all.")
    known = {file.stem: file for file in settings.notebooks.rglob("*.py")}
    meant = did_you_mean(path.stem, known)
    for stem, file in known.items():
        # The suggestion can be typed as it stands, also from a folder below the project.
        meant = meant.replace(f"'{stem}'", f"'{os.path.relpath(file)}'")
    raise Invalid(
        f"there is no notebook {given}{meant}",
        f"Notebooks are in {settings.notebooks.name}/.",
    )
