"""Runs notebooks and writes an export of each: a folder with its page and its manifest."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dagmar import __version__
from dagmar.errors import DagmarError, Invalid, SetupError
from dagmar.export import folders, index, manifests
from dagmar.export.manifests import Manifest
from dagmar.export.pool import Job, Pool
from dagmar.export.request import ExportRequest, parameters_of
from dagmar.failure import Failure
from dagmar.files import write_atomically
from dagmar.notebook.cells import PARTITION, read_source
from dagmar.notebook.pairing import read_pairs
from dagmar.project.layout import EXPORTS, relative
from dagmar.project.provenance import REVISION_TAG, own_tags
from dagmar.project.settings import Settings

PLANNED = "planned"
"""The status of an export that `--dry-run` reports."""


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
    """The export of one notebook. `refused` means that it was not run: there is no page."""

    notebook: str
    manifest: Manifest | None = None
    folder: Path | None = None
    url: str = ""
    exit_code: int = 0
    refused: DagmarError | None = None
    problems: list[Problem] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warning: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not (self.refused or self.problems or self.exit_code)

    @property
    def page(self) -> Path | None:
        """The file that a person opens."""
        name = self.manifest.page() if self.manifest else ""
        return self.folder / name if self.folder and name else None

    @property
    def urls(self) -> list[str]:
        """The addresses of its files, that of `page` first."""
        if not (self.url and self.manifest):
            return []
        page = self.manifest.page()
        others = [Path(file.name).suffix for file in self.manifest.files if file.name != page]
        # They differ only in the format, and not every address is quoted.
        return [self.url, *(self.url.removesuffix(Path(page).suffix) + other for other in others)]

    @property
    def error(self) -> Failure | None:
        """Why the notebook failed."""
        if self.refused:
            return Failure(self.refused.message, type(self.refused).__name__)
        return self.manifest.error if self.manifest else None

    def as_document(self) -> dict[str, Any]:
        """Return this export in `--json`."""
        manifest, folder = self.manifest, self.folder
        files = [str(folder / file.name) for file in manifest.files] if manifest and folder else []
        without_page = manifests.FAILED if self.refused else PLANNED
        return {
            "notebook": self.notebook,
            "status": manifest.status if manifest else without_page,
            "id": manifest.id if manifest else None,
            "files": files,
            "url": self.url or None,
            "attached_to": [asset["asset"] for asset in manifest.attached] if manifest else [],
            "uploaded_to": [upload["url"] for upload in manifest.uploaded] if manifest else [],
            "duration_s": manifest.duration_s if manifest else None,
            "error": self.error and self.error.as_document("cell"),
            "problems": [problem.as_document() for problem in self.problems],
            "removed": self.removed,
            "warning": self.warning or None,
        }


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
    revision = own_tags(settings.root).get(REVISION_TAG)
    with Pool(settings.root, min(request.workers, len(notebooks))) as pool:
        exporter = _Exporter(settings, request, pool, revision, report, after)
        return pool.for_each(notebooks, exporter.export)


def preview(
    settings: Settings,
    request: ExportRequest,
    notebooks: Sequence[Path],
    expire: Callable[[Path, str, str, bool], list[str]],
) -> list[Exported]:
    """Return what an export of these notebooks would remove if it succeeded, and do nothing."""
    previews = []
    for notebook in notebooks:
        path = relative(notebook, settings.root)
        folder = folders.place_of(settings, notebook, request.output).folder
        previews.append(Exported(path, removed=expire(folder, path, folders.new_id(), True)))
    return previews


@dataclass(frozen=True)
class _Exporter:
    """Exports single notebooks for a request."""

    settings: Settings
    request: ExportRequest
    pool: Pool
    revision: str | None
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
                exported = Exported(path, refused=refused, exit_code=refused.exit_code)
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
        asset, paired_job = _paired(notebook)
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
            if outcome.refused:
                raise outcome.refused
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
                versions=_versions(),
                executed_by=outcome.executed_by,
                parameters=parameters,
                code=request.code,
                offline=self._offline and not warning,
                asset=asset,
                job=paired_job,
                partition=request.partition or parameters.get(PARTITION),
                reported=outcome.reported,
                error=outcome.error,
            )
            with folders.writable(place.folder):
                pages = [page for page in sorted(job.pages) if page.is_file()]
                for file in set(staging.iterdir()) - {*pages, staging / folders.LOCK}:
                    file.unlink()  # its process was killed before it was a page
                manifest.files = [manifests.describe(page) for page in pages]
                write_atomically(staging / manifests.NAME, manifest.as_text())
            hold.enter_context(folders.held(staging))
            final = folders.publish(place, staging, id)
        url = url_of(settings, final, manifest)
        exported = Exported(path, manifest, final, url, exit_code=outcome.exit_code)
        exported.warning = "; ".join(filter(None, (outcome.warning, warning)))
        write_index(exported)
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


def write_index(exported: Exported) -> None:
    """Write the pages that list the exports of its notebook, and all notebooks."""
    assert exported.folder is not None
    try:
        index.write(exported.folder.parent.parent, exported.folder.parent.name)
    except DagmarError as error:
        exported.problems.append(Problem("index", error))


def save(exported: Exported) -> None:
    """Write the manifest of an export again, after something was added to it."""
    assert exported.folder is not None
    assert exported.manifest is not None
    with folders.writable(exported.folder):
        write_atomically(exported.folder / manifests.NAME, exported.manifest.as_text())


def _explained(error: DagmarError | OSError) -> DagmarError:
    """Return the error that stops the export of one notebook, with a hint."""
    if isinstance(error, DagmarError):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return SetupError(
        f"{where}{error.strerror or error}", "Try again, or type:", command="invoke doctor"
    )


def _paired(notebook: Path) -> tuple[str | None, str | None]:
    """Return the asset and the job that a notebook is paired with."""
    try:
        pairs = list(read_pairs(read_source(notebook).tree))
    except Invalid:
        return None, None  # its run reports why
    asset = next((pair.asset for pair in pairs if pair.asset), None)
    return asset, next((pair.job for pair in pairs if pair.job), None)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "dagmar": __version__}
    for name in ("marimo", "dagster"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
