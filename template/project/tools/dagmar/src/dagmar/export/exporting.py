"""`invoke export`: runs notebooks, and keeps what comes of each in a folder of its own."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from dagmar.errors import DagmarError, Invalid, SetupError
from dagmar.export import folders, manifests
from dagmar.export.manifests import Manifest
from dagmar.export.pool import Job, Outcome, Pool
from dagmar.export.request import ExportRequest, parameters_of
from dagmar.failure import Failure
from dagmar.files import write_atomically
from dagmar.notebook.cells import PARTITION
from dagmar.project.layout import EXPORTS, relative
from dagmar.project.settings import Settings

VERSIONS = ("dagmar", "marimo", "dagster")
PLANNED = "planned"
"""The status of an export that `--dry-run` tells of."""


@dataclass
class Problem:
    """What went wrong after the page was made: the page is kept."""

    step: str
    error: DagmarError
    repeat: str = ""

    def as_document(self) -> dict[str, str]:
        """Return what `--json` prints."""
        return {"step": self.step, "message": self.error.message, "repeat": self.repeat}


@dataclass
class Exported:
    """What came of one notebook. `refused` means that it was not run, and that there is no page."""

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
        """Whether all went well."""
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
        # They differ in the format alone, and not each address is quoted.
        return [self.url, *(self.url.removesuffix(Path(page).suffix) + one for one in others)]

    @property
    def error(self) -> Failure | None:
        """Why the notebook failed."""
        if self.refused:
            return Failure(self.refused.message, type(self.refused).__name__)
        return self.manifest.error if self.manifest else None

    def _without_page(self) -> str:
        return manifests.FAILED if self.refused else PLANNED

    def as_document(self) -> dict[str, Any]:
        """Return this export in `--json`."""
        manifest, folder = self.manifest, self.folder
        files = [str(folder / file.name) for file in manifest.files] if manifest and folder else []
        return {
            "notebook": self.notebook,
            "status": manifest.status if manifest else self._without_page(),
            "id": manifest.id if manifest else None,
            "files": files,
            "url": self.url or None,
            "attached_to": [one["asset"] for one in manifest.attached] if manifest else [],
            "uploaded_to": [one["url"] for one in manifest.uploaded] if manifest else [],
            "duration_s": manifest.duration_s if manifest else None,
            "error": self.error and self.error.as_document("cell"),
            "problems": [problem.as_document() for problem in self.problems],
            "removed": self.removed,
            "warning": self.warning or None,
        }


Tell = Callable[[str, str], None]
"""Is told a notebook's path, and what is being done with it."""


def export(
    settings: Settings,
    request: ExportRequest,
    notebooks: Sequence[Path],
    tell: Tell = lambda notebook, what: None,
    after: Callable[[Exported], None] = lambda exported: None,
) -> list[Exported]:
    """Export notebooks, each for itself: one that fails keeps no other from being exported.

    `after` is called with each export once its page lies in its folder.
    """
    revision = _revision(settings.root)
    count = min(request.workers, len(notebooks))
    with Pool(settings.root, count) as pool:

        def one(notebook: Path) -> Exported:
            path = relative(notebook, settings.root)
            with contextlib.ExitStack() as hold:  # nobody removes it before it is sent and linked
                try:
                    exported = _export(
                        settings, request, notebook, path, pool, revision, tell, hold
                    )
                except (DagmarError, OSError) as error:
                    refused = _explained(error)
                    exported = Exported(path, refused=refused, exit_code=refused.exit_code)
                else:
                    try:
                        after(exported)
                    except (DagmarError, OSError) as error:
                        exported.problems.append(Problem("manifest", _explained(error)))
            tell(path, "")
            return exported

        return pool.for_each(notebooks, one)


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


def _export(
    settings: Settings,
    request: ExportRequest,
    notebook: Path,
    path: str,
    pool: Pool,
    revision: str | None,
    tell: Tell,
    hold: contextlib.ExitStack,
) -> Exported:
    parameters = parameters_of(request, notebook)
    place = folders.place_of(settings, notebook, request.output)
    id = folders.new_id()
    offline = is_offline(settings, request)
    pair = _paired(notebook)
    with folders.staged(place, id) as staging:
        asset_url, warning = None, ""
        if offline and "html" in request.formats:
            from dagmar.export.offline import share_assets

            try:
                asset_url = share_assets(place.exports)
            except SetupError as error:
                if request.offline or settings.export.get("offline"):
                    raise
                # Only `invoke dev` wants it, which serves a page that needs the network as well.
                offline, warning = False, error.message
        job = Job(
            id,
            settings.root,
            notebook,
            staging,
            request.formats,
            parameters,
            request.code,
            asset_url,
            request.timeout,
            pair[0],
        )
        started = datetime.now(timezone.utc)
        outcome = pool.run(job, lambda cell: tell(path, cell))
        if outcome.refused:
            raise outcome.refused
        manifest = _manifest(request, path, place.name, id, started, outcome)
        manifest.asset, manifest.job = pair
        manifest.git_revision, manifest.offline = revision, offline
        manifest.parameters = parameters
        manifest.partition = manifest.partition or parameters.get(PARTITION)
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


def _manifest(
    request: ExportRequest,
    path: str,
    name: str,
    id: str,
    started: datetime,
    outcome: Outcome,
) -> Manifest:
    return Manifest(
        notebook=path,
        notebook_sha256=outcome.sha256,
        name=name,
        id=id,
        status=manifests.FAILED if outcome.error else manifests.OK,
        started_at=started.isoformat(timespec="milliseconds"),
        ended_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        duration_s=round(outcome.seconds, 3),
        title=outcome.title,
        versions=_versions(),
        code=request.code,
        partition=request.partition or None,
        executed_by=outcome.executed_by,
        reported=outcome.reported,
        error=outcome.error,
    )


def is_offline(settings: Settings, request: ExportRequest) -> bool:
    """Whether pages do without a network: when asked for, and when `invoke dev` serves them."""
    return request.offline or bool(settings.export.get("offline")) or bool(settings.reports_url)


def url_of(settings: Settings, folder: Path, manifest: Manifest) -> str:
    """Return the address of an export's page: over http while `invoke dev` runs, else a file's."""
    page = manifest.page()
    if not page:
        return ""
    exports = settings.root / EXPORTS
    if settings.reports_url and folder.is_relative_to(exports):
        from urllib.parse import quote

        inside = quote((folder / page).relative_to(exports).as_posix())
        return f"{settings.reports_url.rstrip('/')}/{inside}"
    return (folder / page).as_uri()


def write_index(exported: Exported) -> None:
    """Write the pages that list the exports of its notebook, and those of all."""
    from dagmar.export.index import write

    assert exported.folder is not None
    try:
        write(exported.folder.parent.parent, exported.folder.parent.name)
    except DagmarError as error:
        exported.problems.append(Problem("index", error))


def save(exported: Exported) -> None:
    """Write an export's manifest again, after something was added to it."""
    assert exported.folder is not None
    assert exported.manifest is not None
    with folders.writable(exported.folder):
        write_atomically(exported.folder / manifests.NAME, exported.manifest.as_text())


def _explained(error: DagmarError | OSError) -> DagmarError:
    """Return an error that ends one notebook's export, and not that of others."""
    if isinstance(error, DagmarError):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return SetupError(
        f"{where}{error.strerror or error}", "Try again, or type:", command="invoke doctor"
    )


def _paired(notebook: Path) -> tuple[str | None, str | None]:
    """Return the asset and the job that a notebook is paired with."""
    from dagmar.notebook.cells import read_source
    from dagmar.notebook.pairing import read_pairs

    try:
        pairs = list(read_pairs(read_source(notebook).tree))
    except Invalid:
        return None, None  # its run says why
    asset = next((pair.asset for pair in pairs if pair.asset), None)
    return asset, next((pair.job for pair in pairs if pair.job), None)


def _versions() -> dict[str, str]:
    from dagmar import __version__

    found = {"python": platform.python_version(), "dagmar": __version__}
    for name in VERSIONS[1:]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _revision(root: Path) -> str | None:
    from dagmar.project.provenance import REVISION_TAG, own_tags

    return own_tags(root).get(REVISION_TAG)
