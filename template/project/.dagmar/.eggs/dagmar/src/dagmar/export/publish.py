"""Publishes a page that is in its folder: sends it, links it, and removes old ones.

If a step fails, the page is kept, and one command repeats the step.
"""

from __future__ import annotations

import functools
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import DagmarError, Invalid
from dagmar.export import folders, manifests
from dagmar.export.exporting import Exported, Problem, Report, url_of
from dagmar.export.manifests import Manifest
from dagmar.export.request import ExportRequest, require_no_password
from dagmar.project.layout import relative
from dagmar.project.settings import Settings

if TYPE_CHECKING:
    from dagmar.export.upload import Storage


@dataclass(frozen=True)
class Publisher:
    """Sends, links and cleans up by a request and the settings."""

    settings: Settings
    request: ExportRequest
    target: str = ""
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Raise UsageError for a password in the address: it would be in commands to repeat."""
        require_no_password(self.upload_to)

    @property
    def upload_to(self) -> str:
        """The address that exports are sent to, or an empty text."""
        return self.request.upload or str(self.settings.export.get("upload", ""))

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage, opened once."""
        from dagmar.export.upload import Storage

        public = str(self.settings.export.get("public_url", ""))
        return Storage(self.upload_to, public, self.request.compress)

    def publish(self, exported: Exported, report: Report = lambda notebook, what: None) -> None:
        """Send and link an export that succeeded, and remove older ones of its notebook.

        It may be called from several threads, and handles one export after the other. Raises
        Conflict if the export was removed in the meantime.
        """
        manifest = exported.manifest
        with self._lock, folders.held(exported.folder):
            steps = self._steps(manifest)
            for step in steps:
                report(manifest.notebook, step)
                try:
                    if step == "attach":
                        self._attach(exported)
                    else:
                        exported.url = self.storage.send(
                            exported, lambda name: report(manifest.notebook, f"upload {name}")
                        )
                except DagmarError as error:
                    repeat = self.repeat(exported, step, error)
                    exported.problems.append(Problem(step, error, repeat))
                    break  # a link needs the address of the upload
                finally:
                    exported.save()
            if steps:
                exported.write_index()
            if manifest.ok and not exported.problems:
                try:
                    folder = exported.folder.parent
                    exported.removed = self.expire(folder, manifest.notebook, manifest.id)
                except DagmarError as error:
                    exported.problems.append(Problem("retention", error))
                if exported.removed:
                    exported.write_index()

    def _steps(self, manifest: Manifest) -> list[str]:
        # A failed page is sent only if it is named: people rely on links.
        if not manifest.files or not (manifest.ok or self.request.existing):
            return []
        wanted = {"upload": self.upload_to, "attach": self.request.attach}
        return [step for step, where in wanted.items() if where]

    def repeat(self, exported: Exported, step: str, error: DagmarError) -> str:
        """Return the command that repeats a failed step of an export.

        An unknown name is replaced by the suggestion; without one no command would succeed, and
        the result is empty.
        """
        request = self.request
        meant = error.meant if step == "attach" else {}
        if step == "attach" and isinstance(error, Invalid) and not meant:
            return ""
        flags = {
            "existing": exported.manifest.id,
            "output": request.output,
            "upload": request.upload,
            "attach": meant.get(request.attach, request.attach),
            "partition": meant.get(request.partition, request.partition),
            "target": self.target,
            "url": self.url,
        }
        words = [f"--{name} {shlex.quote(value)}" for name, value in flags.items() if value]
        return f"invoke export {' '.join(words)}{' --compress' if request.compress else ''}"

    def _attach(self, exported: Exported) -> None:
        from dagmar.export.attach import attach

        if exported.manifest.uploaded and not self.upload_to:
            exported.url = exported.manifest.uploaded[-1]["url"]
        target = self.settings.target(self.target, self.url)
        attach(self.settings, target, exported, self.request.attach, self.request.partition)

    def expire(self, folder: Path, notebook: str, id: str, dry_run: bool = False) -> list[str]:
        """Remove the exports of a notebook that may go after its export `id`, also uploaded ones.

        Its exports are in `folder`. Returns the folders and addresses. Raises DagmarError.
        """
        from dagmar.export import retention

        days, keep = self._setting("retention_days"), self._setting("keep")
        if days is None and keep is None:
            return []
        exports = (each for each in manifests.read_all(folder) if each[1].notebook == notebook)
        linked = id if dry_run and self.request.attach else retention.newest_linked(exports)
        policy = retention.Policy(notebook, days, keep, id, linked)
        removed = list(map(str, retention.expire(folder.parent, folder.name, policy, dry_run)))
        if self.upload_to:
            removed += self.storage.expire(folder.name, policy, dry_run)
        return removed

    def _setting(self, name: str) -> Any:
        """Return a flag of the request, or else the setting of that name."""
        value = getattr(self.request, name)
        return self.settings.export.get(name) if value is None else value

    def preview(self, notebooks: Sequence[Path]) -> list[Exported]:
        """Return what an export of these notebooks would remove if it succeeded."""
        previews = []
        for notebook in notebooks:
            path = relative(notebook, self.settings.root)
            folder = folders.place_of(self.settings, notebook, self.request.output).folder
            removed = self.expire(folder, path, folders.new_id(), dry_run=True)
            planned = manifests.unwritten(path, manifests.PLANNED)
            previews.append(Exported(planned, folder, removed=removed))
        return previews


def existing(settings: Settings, request: ExportRequest) -> Exported:
    """Return the export called `request.existing`. Raises Invalid if there is none."""
    exports = folders.exports_of(settings, request.output)
    if manifests.FOLDER.fullmatch(request.existing):
        for folder in exports.glob(f"*/{request.existing}"):
            if (manifest := manifests.read(folder)) and manifest.whole:
                return Exported(manifest, folder, url_of(settings, folder, manifest))
    raise Invalid(f"there is no export {request.existing}", f"See {exports}, or give --output DIR.")
