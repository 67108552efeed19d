"""Runs notebooks and writes an export of each: a folder with its page and its manifest."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dagmar.errors import DagmarError, Invalid, RunFailed, SetupError, TimedOut
from dagmar.export import folders, index, manifests
from dagmar.export.manifests import Manifest
from dagmar.export.pool import Job, Pool
from dagmar.export.request import ExportRequest, parameters_of
from dagmar.failure import Failure
from dagmar.files import write_atomically
from dagmar.notebook.cells import PARTITION, read_source
from dagmar.notebook.pairing import Paired, paired_with, read_pairs
from dagmar.project.layout import EXPORTS, relative
from dagmar.project.provenance import REVISION_TAG, own_tags, versions
from dagmar.project.settings import Settings


@dataclass
class Problem:
    """What went wrong after the page was written: the page is kept."""

    step: str
    error: DagmarError
    repeat: str = ""

    def as_document(self) -> dict[str, str]:
        """Return what `--json` prints."""
        return {"step": self.step, "message": self.error.message, "repeat": self.repeat}


@dataclass
class Exported:
    """The export of one notebook. If it was refused or is only planned, it has no files.

    `error` is why it was refused, or why the notebook that was just run failed; `failure` is what
    the terminal shows of that, also if the files contain no code.
    """

    manifest: Manifest
    folder: Path
    url: str = ""
    error: DagmarError | None = None
    failure: Failure | None = None
    problems: list[Problem] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warning: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not (self.error or self.problems)

    @property
    def urls(self) -> list[str]:
        """The addresses of its files, that of its page first."""
        if not self.url:
            return []
        page = self.manifest.page()
        others = [Path(file.name).suffix for file in self.manifest.files if file.name != page]
        # They differ only in the format, and not every address is quoted.
        return [self.url, *(self.url.removesuffix(Path(page).suffix) + other for other in others)]

    def as_document(self) -> dict[str, Any]:
        """Return this export in `--json`."""
        manifest = self.manifest
        return {
            "notebook": manifest.notebook,
            "status": manifest.status,
            "id": manifest.id or None,
            "files": [str(self.folder / file.name) for file in manifest.files],
            "url": self.url or None,
            "attached_to": [asset["asset"] for asset in manifest.attached],
            "uploaded_to": [upload["url"] for upload in manifest.uploaded],
            "duration_s": manifest.duration_s if manifest.id else None,
            "error": manifest.error and manifest.error.as_document("cell"),
            "problems": [problem.as_document() for problem in self.problems],
            "removed": self.removed,
            "warning": self.warning or None,
        }

    def save(self) -> None:
        """Write its manifest again, after something was added to it."""
        with folders.writable(self.folder):
            write_atomically(self.folder / manifests.NAME, self.manifest.as_text())

    def write_index(self) -> None:
        """Write the pages that list the exports of its notebook, and all notebooks."""
        try:
            index.write(self.folder.parent.parent, self.folder.parent.name)
        except DagmarError as error:
            self.problems.append(Problem("index", error))


Report = Callable[[str, str], None]
"""Called with a notebook's path and what is being done with it; empty when it is done."""


def export(
    settings: Settings,
    request: ExportRequest,
    notebooks: Sequence[Path],
    report: Report = lambda notebook, what: None,
    after: Callable[[Exported], None] = lambda exported: None,
) -> list[Exported]:
    """Export notebooks; one that fails does not prevent the export of the others.

    `after` is called with each export once its page is in its folder.
    """
    origin = own_tags(settings.root).get(REVISION_TAG), versions(settings.root)
    workers = min(request.workers, len(notebooks))
    with contextlib.closing(Pool(settings.root, workers)) as pool:
        exporter = _Exporter(settings, request, pool, *origin, report, after)
        return pool.for_each(notebooks, exporter.export)


@dataclass(frozen=True)
class _Exporter:
    """Exports single notebooks for a request."""

    settings: Settings
    request: ExportRequest
    pool: Pool
    revision: str | None
    versions: dict[str, str]
    report: Report
    after: Callable[[Exported], None]

    def export(self, notebook: Path) -> Exported:
        """Export a notebook; what prevents it is in the result."""
        path = relative(notebook, self.settings.root)
        # Retention must not remove it before it is sent and linked.
        with contextlib.ExitStack() as hold:
            try:
                exported = self._run(notebook, path, hold)
            except (DagmarError, OSError) as error:
                refused = _explained(error)
                failure = Failure(refused.message, type(refused).__name__)
                manifest = manifests.unwritten(path, manifests.FAILED, error=failure)
                exported = Exported(manifest, Path(), error=refused)
            else:
                try:
                    self.after(exported)
                except (DagmarError, OSError) as error:
                    exported.problems.append(Problem("manifest", _explained(error)))
        self.report(path, "")
        return exported

    def _run(self, notebook: Path, path: str, hold: contextlib.ExitStack) -> Exported:
        """Run a notebook and publish its page, which `hold` protects from retention."""
        settings, request = self.settings, self.request
        parameters = parameters_of(request, notebook)
        place, id = folders.place_of(settings, notebook, request.output), folders.new_id()
        pairs: list[Paired] = []
        with contextlib.suppress(Invalid):  # its run reports why
            pairs = list(read_pairs(read_source(notebook).tree))
        asset, paired_job = paired_with(pairs)
        with folders.staged(place, id) as staging:
            asset_url, warning = self._share_assets(place.exports)
            job = Job(
                root=settings.root,
                notebook=notebook,
                folder=staging,
                formats=request.formats,
                parameters=parameters,
                code=request.code,
                asset_url=asset_url,
                timeout=request.timeout,
                asset=asset,
            )
            started = datetime.now(timezone.utc)
            outcome = self.pool.run(job, lambda cell: self.report(path, cell))
            manifest = Manifest(
                notebook=path,
                notebook_sha256=outcome.sha256,
                name=place.name,
                id=id,
                status=manifests.FAILED if outcome.error else manifests.OK,
                started_at=started.isoformat(timespec="milliseconds"),
                ended_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                duration_s=round(outcome.seconds, 3),
                title=outcome.title,
                git_revision=self.revision,
                versions=self.versions,
                executed_by=outcome.executed_by,
                parameters={**parameters, **outcome.parameters},
                code=request.code,
                offline=self._offline and not warning,
                asset=asset,
                job=paired_job,
                partition=request.partition or parameters.get(PARTITION),
                reported=outcome.reported,
                error=outcome.error if request.code else outcome.concealed_error,
            )
            with folders.writable(place.folder):
                names = sorted(f"{notebook.stem}.{format}" for format in request.formats)
                pages = [page for name in names if (page := staging / name).is_file()]
                for file in set(staging.iterdir()) - {*pages, staging / folders.LOCK}:
                    file.unlink()  # its process was killed before it was a page
                manifest.files = [manifests.describe(page) for page in pages]
                write_atomically(staging / manifests.NAME, manifest.as_text())
            hold.enter_context(folders.held(staging))
            final = folders.publish(place, staging, id)
        url = url_of(settings, final, manifest)
        exported = Exported(manifest, final, url, failure=outcome.error)
        exported.warning = "; ".join(filter(None, (outcome.warning, warning)))
        if outcome.error:
            failed = TimedOut if outcome.late else RunFailed
            cell = manifests.cell_of(outcome.error) or "the notebook"
            see = ("To see the cell in marimo, type:", f"invoke dev --notebook {shlex.quote(path)}")
            remedy = (f"The page was kept: {url}",) if url else see
            # What follows its first line is printed above, with the traceback.
            text = outcome.error.line if outcome.error.traceback else outcome.error.text
            exported.error = failed(f"{cell} failed: {text}", *remedy)
        exported.write_index()
        return exported

    @property
    def _offline(self) -> bool:
        """Whether pages need no network: if asked for, and if `invoke dev` serves them."""
        settings = self.settings
        return bool(self.request.offline or settings.export.get("offline") or settings.reports_url)

    def _share_assets(self, exports: Path) -> tuple[str | None, str]:
        """Return the address of the scripts for offline pages, and why there are none."""
        if not self._offline or "html" not in self.request.formats:
            return None, ""
        from dagmar.export.offline import share_assets

        try:
            return share_assets(exports), ""
        except SetupError as error:
            if self.request.offline or self.settings.export.get("offline"):
                raise
            # Only `invoke dev` prefers it, which serves a page that needs the network as well.
            return None, error.message


def url_of(settings: Settings, folder: Path, manifest: Manifest) -> str:
    """Return the address of an export's page: over http while `invoke dev` runs, else a file's."""
    page = manifest.page()
    if not page:
        return ""
    exports = settings.root / EXPORTS
    if settings.reports_url and folder.is_relative_to(exports):
        inside = quote((folder / page).relative_to(exports).as_posix())
        return f"{settings.reports_url.rstrip('/')}/{inside}"
    return (folder / page).as_uri()


def _explained(error: DagmarError | OSError) -> DagmarError:
    """Return the error that stops the export of one notebook, with a hint."""
    if isinstance(error, DagmarError):
        return error
    where = f"{error.filename}: " if error.filename else ""
    message = f"{where}{error.strerror or error}"
    return SetupError(message, "Try again, or type:", command="invoke doctor")
