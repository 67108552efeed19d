"""`invoke migrate`: Jupyter notebooks become paired notebooks, one by one and cell by cell."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagmar.asset_key import AssetKey
from dagmar.errors import Conflict, DagmarError, Invalid, SetupError, UsageError, did_you_mean
from dagmar.files import write_all
from dagmar.migrate import convert, kernel, report
from dagmar.migrate.reading import read_notebook
from dagmar.migrate.report import Migrated, Migration
from dagmar.migrate.verify import verify
from dagmar.project import templates
from dagmar.project.layout import relative
from dagmar.project.settings import Settings
from dagmar.project.worktree import read_worktree
from dagmar.scaffold.folder import files_for
from dagmar.scaffold.naming import Names
from dagmar.scaffold.notebooks import find, refuse_to_overwrite
from dagmar.server.catalog import Catalog

OUTPUTS = ("drop", "comments")
VERIFY_SECONDS = 600.0
"""How long each of both notebooks may take under --verify."""
SKIPPED = {".ipynb_checkpoints", ".venv", ".dagmar", "__marimo__", "node_modules", ".git"}


@dataclass(frozen=True)
class MigrateRequest:
    """What `invoke migrate` was asked for. Raises UsageError."""

    notebooks: Sequence[str] = ()
    everything: bool = False
    asset: str = ""
    job: str = ""
    outputs: str = "drop"
    dry_run: bool = False
    force: bool = False
    verify: bool = False
    timeout: float = VERIFY_SECONDS

    def __post_init__(self) -> None:
        """Check the flags."""
        for problem in self._problems():
            raise UsageError(*problem)

    def _problems(self) -> Iterator[tuple[str, str]]:
        if bool(self.notebooks) == self.everything:
            example = "For example: --notebook analysis/orders.ipynb"
            yield "migrate needs one or more --notebook, or --all", example
        if self.asset and self.job:
            yield "a notebook is paired with an asset or a job", "Omit --asset or --job."
        if (self.asset or self.job) and len(self.notebooks) != 1:
            flag = "--asset" if self.asset else "--job"
            yield f"{flag} is for one notebook", "Migrate it alone, with one --notebook."
        if self.verify and self.dry_run:
            yield "--dry-run writes no notebook that --verify could run", "Omit one of them."
        if self.outputs not in OUTPUTS:
            meant = did_you_mean(self.outputs, OUTPUTS)
            yield f"--outputs {self.outputs}: there is no such choice{meant}", "comments or drop."


def migrate(settings: Settings, request: MigrateRequest, catalog: Catalog | None) -> Migration:
    """Convert the requested notebooks, write them, verify them if asked to, and return each.

    What stops one of them is its error, and the others are converted. `catalog` is None if neither
    a server nor the project's definitions could be read. Raises UsageError, Invalid (an unknown
    asset or job), and SetupError if --verify needs a package that is not installed.
    """
    root = settings.root.resolve()
    if request.verify:
        kernel.require_kernel(root)
    if catalog:
        _check_pair(request, catalog)
    files = _found(root) if request.everything else [*map(Path, request.notebooks)]
    folder = settings.notebooks.resolve()
    names = Names([place for place in (root, root / "src") if place != folder])
    notebooks = [
        Migrated(file, folder / f"{names.of_notebook(file.stem)}.py")
        for file in dict.fromkeys(file.resolve() for file in files)
    ]
    taken: dict[Path, Migrated] = {}
    texts = functools.cache(catalog.texts) if catalog and catalog.texts else lambda: None
    saved: Collection[str] | None = None
    for notebook in notebooks:
        try:
            _convert(notebook, taken, request, texts, root)
            overwritten = _overwritten(notebook)
            if overwritten:
                saved = _saved(root) if saved is None else saved
                for file in overwritten:
                    refuse_to_overwrite(root, file, saved)
            if not request.dry_run:
                _write(notebook)
        except DagmarError as error:
            notebook.error = error
        except OSError as error:
            message = f"{error.filename or notebook.target} cannot be written: {error.strerror}"
            notebook.error = SetupError(message, command="invoke doctor")
    written = [notebook for notebook in notebooks if notebook.written]
    if request.verify and written:
        _verify(written, root, request.timeout)
    for notebook in written:
        report.write_report(root, notebook)
    return Migration(root, notebooks, request.dry_run)


def _check_pair(request: MigrateRequest, catalog: Catalog) -> None:
    """Raise Invalid if Dagster does not know the asset or the job."""
    if request.asset:
        find("asset", AssetKey(request.asset), catalog.assets, catalog)
    if request.job:
        find("job", request.job, catalog.jobs, catalog)


def _found(root: Path) -> list[Path]:
    """Return the project's Jupyter notebooks. Raises Invalid if there are none."""
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in SKIPPED and not (Path(place, name) / "pyvenv.cfg").is_file()
        )
        found += [Path(place, name) for name in sorted(files) if name.endswith(".ipynb")]
    if not found:
        raise Invalid("there is no Jupyter notebook in the project", "Name one with --notebook.")
    return found


def _convert(
    notebook: Migrated,
    taken: dict[Path, Migrated],
    request: MigrateRequest,
    texts: Callable[[], Mapping[str, AssetKey] | None],
    root: Path,
) -> None:
    """Convert one notebook. Raises Conflict and Invalid."""
    source, target = notebook.source, notebook.target
    if other := taken.get(target):
        both = f"{relative(other.source, root)} and {relative(source, root)}"
        message = f"{both} would both be {relative(target, root)}"
        raise Conflict(message, "Rename one of the two.")
    if not source.exists():
        raise UsageError(f"there is no {source}", "Give --notebook the path of an .ipynb file.")
    read = read_notebook(source)
    taken[target] = notebook
    if os.path.lexists(target):
        if not request.force:
            message = f"{relative(target, root)} exists"
            raise Conflict(message, "Move it away, or overwrite it with --force.")
        if not target.is_file() or not target.resolve().is_relative_to(root):
            raise Conflict(
                f"{relative(target, root)} is not a file of the project", "Move it away."
            )
        notebook.overwrites = True
    with_outputs = request.outputs == "comments"
    notebook.converted = convert.convert(
        read, target, AssetKey(request.asset), request.job, with_outputs, root, texts
    )
    for file, data in notebook.converted.files.items():
        if not request.force and os.path.lexists(file) and not _has(file, data):
            message = f"{relative(file, root)} exists, and is not the attachment"
            raise Conflict(message, "Move it away, or overwrite it with --force.")


def _overwritten(notebook: Migrated) -> list[Path]:
    """Return the files that would lose what they hold now."""
    assert notebook.converted
    texts = {notebook.target: notebook.converted.text.encode(), **notebook.converted.files}
    lost = [file for file, data in texts.items() if file.exists() and not _has(file, data)]
    about = report.report_file(notebook.target)
    return [*lost, about] if about.exists() and not report.is_unchanged(about) else lost


def _has(file: Path, data: bytes) -> bool:
    return file.is_file() and file.read_bytes() == data


def _saved(root: Path) -> Collection[str]:
    """Return the files that git has a copy of. Raises SetupError."""
    with templates.git_errors():
        return read_worktree(root).saved


def _write(notebook: Migrated) -> None:
    """Write what was converted; the original is never touched."""
    assert notebook.converted
    converted = notebook.converted
    write_all({**converted.files, **files_for([notebook.target]), notebook.target: converted.text})
    notebook.written = True


def _verify(notebooks: Sequence[Migrated], root: Path, timeout: float) -> None:
    """Run each notebook and what was written from it, one after the other, and compare them."""
    from dagmar.export.exports import Progress
    from dagmar.export.pool import Pool

    with contextlib.closing(Pool(root, 1)) as pool, Progress(len(notebooks)) as progress:
        for notebook in notebooks:
            assert notebook.converted
            name = relative(notebook.source, root)
            tell = functools.partial(progress.report, name)
            notebook.proof = verify(notebook.converted, root, pool, timeout, tell)
            tell("")
